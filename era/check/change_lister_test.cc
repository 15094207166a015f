// SPDX-License-Identifier: GPL-3.0-or-later
// There is a list if it can be relied on, and else none.
#include "era/check/change_lister.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "era/testing/repaired.h"
#include "persistent-data/format/space_map.h"

namespace era {
namespace {

using era::test::built_metadata;
using era::test::change;
using era::test::leaf_value;
using era::test::lose;
using era::test::small_metadata;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct answer {
  std::optional<std::uint64_t> listed;
  bool is_open = false;
  std::vector<part> damaged;
};

answer ask(const built_metadata& built, const era_window& window = {5, 99}) {
  const pd::block_device device(built.path(), pd::access::reading);
  answer result;
  change_lister changed(device, source::live,
                        [&](const finding& f) { result.damaged.push_back(f.where.what); });
  result.is_open = changed.opened().has_value();
  if (const auto listed = changed.list(window)) result.listed = listed->listed;
  return result;
}

TEST(ChangedBlocks, AreListedIfNothingIsWrong) {
  const answer a = ask(built_metadata(small_metadata()));
  EXPECT_EQ(a.listed, 12u);
  EXPECT_TRUE(a.is_open);
  EXPECT_THAT(a.damaged, IsEmpty());
}

TEST(ChangedBlocks, AreNotListedIfContentIsDamaged) {
  built_metadata built(small_metadata());
  lose(built, leaf_value(built, built.read_superblock().era_array_root, 1));
  const answer a = ask(built);
  EXPECT_EQ(a.listed, std::nullopt);
  EXPECT_TRUE(a.is_open);
  EXPECT_THAT(a.damaged, ElementsAre(part::era_array));
}

TEST(ChangedBlocks, AreNotReadAgainAfterDamage) {
  built_metadata built(small_metadata());
  lose(built, leaf_value(built, built.read_superblock().era_array_root, 1));
  const pd::block_device device(built.path(), pd::access::reading);
  int findings = 0;
  change_lister changed(device, source::live, [&](const finding&) { ++findings; });
  EXPECT_FALSE(changed.list({5, 99}));
  EXPECT_FALSE(changed.list({5, 99}));
  EXPECT_EQ(findings, 1);
}

// The blocks of a dropped snapshot are reused: that is no damage.
TEST(ChangedBlocks, OfADroppedSnapshotAreNotCalledDamaged) {
  built_metadata built(small_metadata());
  lose(built, leaf_value(built, built.read_superblock().era_array_root, 1));
  era::test::hold_snapshot(built);
  const pd::block_device device(built.path(), pd::access::shared);
  change_lister changed(device, source::snapshot,
                        [&](const finding&) { era::test::drop_snapshot(built); });
  ASSERT_TRUE(changed.opened());
  EXPECT_THROW(changed.list({5, 99}), pd::device_error);
}

TEST(ChangedBlocks, AreNotListedIfATreeIsDamaged) {
  built_metadata built(small_metadata());
  lose(built, built.read_superblock().writeset_tree_root);
  const answer a = ask(built);
  EXPECT_EQ(a.listed, std::nullopt);
  EXPECT_FALSE(a.is_open);
  EXPECT_THAT(a.damaged, ElementsAre(part::writeset_tree));
}

// A superblock of before the current writeset was made leads to nothing that is wrong.
TEST(ChangedBlocks, AreNotListedIfAWritesetIsCutOff) {
  built_metadata built(small_metadata());
  pd::block b = built.read(superblock_location);
  b.as<superblock>().current_root = 0;
  pd::prepare_for_write(superblock_kind, b, superblock_location);
  built.write(superblock_location, b);
  for (const bool is_map_damaged : {false, true}) {
    if (is_map_damaged) lose(built, b.as<superblock>().space_map.ref_count_root);
    const answer a = ask(built);
    EXPECT_EQ(a.listed, std::nullopt);
    EXPECT_FALSE(a.is_open);
    EXPECT_THAT(a.damaged, ElementsAre(part::reference_counts, part::reference_counts));
  }
}

// A pointer to an outdated block would go unnoticed without the counts.
TEST(ChangedBlocks, AreNotListedIfABlockIsReferredToMoreOftenThanCounted) {
  built_metadata built(small_metadata());
  const auto index = built.read({built.read_superblock().space_map.bitmap_root});
  const std::uint64_t bitmap = index.as<pd::index_block>().entries[0].blocknr;
  const std::uint64_t root = built.read_superblock().era_array_root;
  change(built, pd::space_map_bitmap_kind, bitmap, [&](pd::block& b) {
    auto& counts = b.as<pd::bitmap_block>();
    pd::set_count(counts, static_cast<std::uint32_t>(root), 0);
  });
  const answer a = ask(built);
  EXPECT_EQ(a.listed, std::nullopt);
  // The index contradicts the bitmap in that, too.
  EXPECT_THAT(a.damaged, ElementsAre(part::space_map, part::space_map, part::space_map,
                                     part::reference_counts));
}

// A bitset of a time when the device was larger.
TEST(ChangedBlocks, AreNotListedIfAWritesetHasBitsAfterItsEnd) {
  built_metadata built(small_metadata());
  const std::uint64_t bits = leaf_value(built, built.read_superblock().current_root, 0);
  change(built, pd::array_block_kind, bits, [](pd::block& b) {
    auto* words = reinterpret_cast<pd::le64*>(b.bytes.data() + sizeof(pd::array_header));
    words[3000 / 64] = std::uint64_t{1} << 3000 % 64;
  });
  const answer a = ask(built);
  EXPECT_EQ(a.listed, std::nullopt);
  EXPECT_THAT(a.damaged, ElementsAre(part::current_writeset));
}

// No pointer leads to what is wrong.
TEST(ChangedBlocks, AreListedIfTheSpaceMapIsLost) {
  built_metadata built(small_metadata());
  lose(built, built.read_superblock().space_map.bitmap_root);
  const answer a = ask(built);
  EXPECT_EQ(a.listed, 12u);
  EXPECT_THAT(a.damaged, IsEmpty());
}

}  // namespace
}  // namespace era
