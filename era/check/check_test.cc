// SPDX-License-Identifier: GPL-3.0-or-later
// The check on metadata of which exactly one thing is wrong. Damage to every block of real metadata
// is the corruption sweep's.
#include "era/check/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "era/format/writeset.h"
#include "era/testing/image_builder.h"
#include "era/testing/repaired.h"
#include "persistent-data/format/array_block.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/testing/torn_reads.h"

namespace era {
namespace {

using era::test::built_metadata;
using era::test::change;
using era::test::metadata_description;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

metadata_description small() {
  metadata_description d;
  d.nr_blocks = 3000;
  d.current_era = 5;
  d.era_of = [](std::uint64_t i) { return static_cast<std::uint32_t>(i % 3); };
  d.archived = {{3, 3000, [](std::uint64_t i) { return i < 10; }},
                {4, 1000, [](std::uint64_t i) { return i > 990; }}};
  d.current = {5, 3000, [](std::uint64_t i) { return i == 7; }};
  return d;
}

struct checked {
  check_summary summary;
  std::vector<finding> findings;
};

checked check(const built_metadata& built, check_scope scope = {},
              pd::engine_choice engine = pd::engine_choice::automatic) {
  const pd::block_device device(built.path(), pd::access::reading, engine);
  checked result;
  result.summary =
      check_metadata(device, scope, [&](finding f) { result.findings.push_back(std::move(f)); });
  return result;
}

TEST(Check, FindsNothingInWhatIsRight) {
  for (const std::uint32_t nr_blocks : {0u, 1u, 1018u, 32577u, 252u * 1018 + 1}) {
    metadata_description d = small();
    d.nr_blocks = nr_blocks;
    d.current->nr_bits = nr_blocks;
    const built_metadata built(d);
    for (const auto engine :
         {pd::engine_choice::sync, pd::engine_choice::aio, pd::engine_choice::uring})
      EXPECT_THAT(check(built, {}, engine).findings, IsEmpty()) << nr_blocks;
  }
}

TEST(Check, CountsWhatItLookedAt) {
  const checked c = check(built_metadata(small()));
  ASSERT_TRUE(c.summary.live);
  EXPECT_EQ(c.summary.live->array_blocks, 3u);
  EXPECT_EQ(c.summary.live->bitset_blocks, 3u);
  EXPECT_EQ(c.summary.live->archived_writesets, 2u);
  EXPECT_TRUE(c.summary.leaks_checked);
  EXPECT_FALSE(c.summary.snapshot);
}

TEST(Check, FindsErasThatTheTreeCannotHave) {
  for (const std::uint32_t era : {0u, 5u, 6u}) {
    metadata_description d = small();
    d.archived = {{era, 3000, [](std::uint64_t) { return true; }}};
    const checked c = check(built_metadata(d));
    ASSERT_EQ(c.findings.size(), 1u) << era;
    EXPECT_EQ(c.findings[0].where, place{part::writeset_tree}) << era;
    EXPECT_EQ(c.findings[0].hidden, (pd::range{era, era + 1ull})) << era;
  }
}

TEST(Check, TheCurrentEraMayBeArchivedOnceThereIsNoCurrentWriteset) {
  metadata_description d = small();
  d.archived.push_back({5, 3000, [](std::uint64_t) { return true; }});
  d.current.reset();
  EXPECT_THAT(check(built_metadata(d)).findings, IsEmpty());
}

TEST(Check, OfTheSuperblockOnlyReadsNothingElse) {
  built_metadata built(small());
  built.write({built.read_superblock().era_array_root}, pd::block{});
  EXPECT_THAT(check(built, {source::live, true}).findings, IsEmpty());
  EXPECT_FALSE(check(built).findings.empty());
}

TEST(Check, DoesNotCallBlocksLeakedThatDamageHides) {
  built_metadata built(small());
  const std::uint64_t root = built.read_superblock().era_array_root;
  built.write({root}, pd::block{});
  const checked c = check(built);
  ASSERT_EQ(c.findings.size(), 1u);
  EXPECT_EQ(c.findings[0].where, place{part::era_array});
  EXPECT_EQ(c.findings[0].hidden, (pd::range{0, 3000}));
  EXPECT_FALSE(c.summary.leaks_checked);
}

// The superblock was written anew, without the writeset that its last write named.
TEST(Check, DoesNotCallALeakWhatListsWrites) {
  for (const bool any : {false, true}) {
    metadata_description d = small();
    d.current = {5, 3000, [any](std::uint64_t i) { return any && i == 7; }};
    built_metadata built(d);
    const std::uint64_t root = built.read_superblock().current_root;
    const std::uint64_t bits = test::leaf_value(built, root, 0);
    change(built, superblock_kind, 0, [](pd::block& b) { b.as<superblock>().current_root = 0; });
    const checked c = check(built);
    EXPECT_TRUE(c.summary.leaks_checked);
    ASSERT_EQ(c.findings.size(), 2u);
    for (const finding& f : c.findings) {
      EXPECT_EQ(f.where, place{part::reference_counts});
      const bool lists = f.blocks.begin == root || any;
      EXPECT_EQ(f.error.type, lists ? pd::error_class::cut_off : pd::error_class::count_too_high);
      EXPECT_TRUE(f.blocks.begin == root || f.blocks.begin == bits);
    }
  }
}

TEST(Check, FindsLeaksAndCountsThatAreTooLow) {
  built_metadata built(small());
  const superblock sb = built.read_superblock();
  const std::uint64_t used = sb.space_map.nr_allocated;
  const pd::block index = built.read({sb.space_map.bitmap_root});
  const std::uint64_t bitmap = index.as<pd::index_block>().entries[0].blocknr;
  // One free block is counted, one that is in use is not: the totals stay as they are.
  change(built, pd::space_map_bitmap_kind, bitmap, [&](pd::block& b) {
    pd::set_count(b.as<pd::bitmap_block>(), static_cast<std::uint32_t>(used), 1);
    pd::set_count(b.as<pd::bitmap_block>(), 1, 0);
  });
  change(built, pd::space_map_index_kind, sb.space_map.bitmap_root,
         [](pd::block& b) { b.as<pd::index_block>().entries[0].none_free_before = 0; });
  const checked c = check(built);
  ASSERT_EQ(c.findings.size(), 2u);
  EXPECT_EQ(c.findings[0].error.type, pd::error_class::count_too_low);
  EXPECT_EQ(c.findings[0].blocks, (pd::block_range{1, 2}));
  EXPECT_EQ(c.findings[1].error.type, pd::error_class::count_too_high);
  EXPECT_EQ(c.findings[1].blocks, (pd::block_range{used, used + 1}));
  EXPECT_FALSE(c.findings[1].fatal());
}

TEST(Check, OfASnapshotNeedsOne) {
  const built_metadata built(small());
  EXPECT_THROW(check(built, {source::snapshot, false}), pd::device_error);
}

// The last era that there can be, and the one after it, with which the counter ends.
TEST(Check, FindsTheEndOfTheEraCounter) {
  metadata_description d = small();
  d.current.reset();
  d.current_era = max_current_era;
  EXPECT_THAT(check(built_metadata(d)).findings, IsEmpty());
  d.current_era = max_current_era + 1;
  const checked r = check(built_metadata(d));
  ASSERT_EQ(r.findings.size(), 1u);
  EXPECT_THAT(r.findings[0].error.text, HasSubstr("the kernel would begin era 0"));
}

// The snapshot's blocks are not known, so that nothing can be called a leak.
TEST(Check, CallsNothingALeakIfTheSnapshotCannotBeFound) {
  built_metadata built(small());
  change(built, superblock_kind, 0,
         [](pd::block& b) { b.as<superblock>().metadata_snap = std::uint64_t{1} << 40; });
  const checked c = check(built);
  ASSERT_EQ(c.findings.size(), 1u);
  EXPECT_EQ(c.findings[0].error.type, pd::error_class::bad_pointer);
  EXPECT_FALSE(c.summary.leaks_checked);
}

// The blocks of a dropped snapshot are reused: that is no damage.
TEST(Check, DoesNotCountWhatADroppedSnapshotHolds) {
  built_metadata built(small());
  const pd::block_nr snapshot = era::test::hold_snapshot(built);
  const pd::block_device device(built.path(), pd::access::shared);
  const auto check_and_drop = [&](bool superblock_only) {
    check_metadata(device, {source::snapshot, superblock_only},
                   [&](const finding&) { era::test::drop_snapshot(built); });
  };
  built.write(snapshot, pd::block{});
  EXPECT_NO_THROW(check_metadata(device, {source::snapshot, false}, ignore_findings));
  EXPECT_THROW(check_and_drop(false), pd::device_error);
  era::test::hold_snapshot(built);
  built.write(snapshot, pd::block{});
  EXPECT_THROW(check_and_drop(true), pd::device_error);
}

// The kernel writes the superblock of a live device while its snapshot is checked, before and
// after.
TEST(Check, ReadsATornSuperblockAgain) {
  built_metadata held(small());
  const pd::block_nr snapshot = era::test::hold_snapshot(held);
  pd::test::torn_reads calls;
  const pd::block_device device(held.path(), pd::access::shared, pd::engine_choice::sync, calls);
  calls.torn = 2;
  std::size_t findings = 0;
  const check_summary summary = check_metadata(device, {.from = source::snapshot}, [&](finding f) {
    ADD_FAILURE() << f.error.text;
    ++findings;
  });
  EXPECT_EQ(findings, 0u);
  ASSERT_TRUE(summary.snapshot);
  EXPECT_EQ(summary.snapshot->location, snapshot);
  EXPECT_EQ(calls.torn, 0);
}

}  // namespace
}  // namespace era
