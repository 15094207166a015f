// SPDX-License-Identifier: GPL-3.0-or-later
// Findings that lists depend on, and metadata that has none of them.
#include "era/check/sound_metadata.h"

#include <gtest/gtest.h>

#include "era/testing/repaired.h"

namespace era {
namespace {

using test::built_metadata;
using test::lose;
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

TEST(SoundMetadata, MayHaveADamagedSpaceMap) {
  built_metadata built(small_metadata());
  lose(built, built.read_superblock().space_map.bitmap_root);
  int findings = 0;
  EXPECT_TRUE(open(built, findings));
  EXPECT_EQ(findings, 0);
}

}  // namespace
}  // namespace era
