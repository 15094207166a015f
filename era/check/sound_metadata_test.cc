// SPDX-License-Identifier: GPL-3.0-or-later
// Findings that lists depend on, and metadata that has none of them.
#include "era/check/sound_metadata.h"

#include <gtest/gtest.h>

#include "era/testing/kernel_image.h"
#include "era/testing/repaired.h"

namespace era {
namespace {

using test::built_metadata;
using test::lose;
using test::memory_image;
using test::small_metadata;

std::optional<metadata> open(const built_metadata& built, int& findings) {
  const pd::block_device device(built.path(), pd::access::reading);
  findings = 0;
  return map_sound_metadata(device, source::live, [&](const finding& f) {
    EXPECT_TRUE(affects_lists(f));
    ++findings;
  });
}

TEST(SoundMetadata, IsMapped) {
  built_metadata built(small_metadata());
  int findings = 0;
  const auto m = open(built, findings);
  ASSERT_TRUE(m);
  EXPECT_EQ(m->nr_blocks, 3000u);
  EXPECT_EQ(m->writesets.size(), 3u);
  EXPECT_EQ(findings, 0);
}

TEST(SoundMetadata, HasNoLostTree) {
  built_metadata built(small_metadata());
  lose(built, built.read_superblock().writeset_tree_root);
  int findings = 0;
  EXPECT_FALSE(open(built, findings));
  EXPECT_EQ(findings, 1);
}

// An older superblock leads to blocks that were used again.
TEST(SoundMetadata, HasNoOtherKindInItsSpaceMap) {
  built_metadata built(small_metadata());
  const pd::block_nr index{built.read_superblock().space_map.bitmap_root};
  pd::block other{};
  pd::prepare_for_write(pd::array_block_kind, other, index);
  built.write(index, other);
  int findings = 0;
  EXPECT_FALSE(open(built, findings));
  EXPECT_EQ(findings, 1);
}

// Nobody who asks for the live metadata needs a snapshot's own blocks, but they tell of the
// superblock.
TEST(SoundMetadata, HasNoOtherKindInItsSnapshot) {
  memory_image image("snap-live");
  const auto map = [&](source from) {
    const pd::block_device device(image.path(), pd::access::shared);
    return map_sound_metadata(device, from, ignore_findings);
  };
  const auto live = map(source::live), snapshot = map(source::snapshot);
  ASSERT_TRUE(live && snapshot);
  std::optional<pd::block_nr> own;  // a block of the snapshot's array alone
  for (std::uint64_t i = 0; i < snapshot->eras.nr_blocks(); ++i)
    if (snapshot->eras.block(i) != live->eras.block(i)) own = snapshot->eras.block(i);
  ASSERT_TRUE(own);
  pd::block& used_again = image.blocks()[own->value];
  used_again = {};
  pd::prepare_for_write(pd::space_map_bitmap_kind, used_again, *own);
  EXPECT_FALSE(map(source::live));
}

TEST(SoundMetadata, MayHaveADamagedSpaceMap) {
  built_metadata built(small_metadata());
  lose(built, built.read_superblock().space_map.bitmap_root);
  int findings = 0;
  EXPECT_TRUE(open(built, findings));
  EXPECT_EQ(findings, 0);
}

}  // namespace
}  // namespace era
