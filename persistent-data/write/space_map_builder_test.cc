// SPDX-License-Identifier: GPL-3.0-or-later
// The counts are exact, and the space map counts its own blocks, too.
#include "persistent-data/write/space_map_builder.h"

#include <gtest/gtest.h>

#include "persistent-data/format/errors.h"
#include "persistent-data/testing/building_site.h"

namespace persistent_data {
namespace {

using test::building_site;

// Builds it after `content` other blocks.
void expect_space_map(std::uint64_t nr_blocks, std::uint64_t content) {
  SCOPED_TRACE(fmt::format("{} of {}", content, nr_blocks));
  building_site s(nr_blocks);
  for (std::uint64_t i = 0; i < content; ++i) {
    block b{};
    s.writer.append(btree_node_kind, b);
  }
  const disk_sm_root root = build_space_map(s.writer);
  s.queue->drain_and_flush();
  const std::uint64_t used = 1 + content + space_map_space_for(nr_blocks);
  EXPECT_EQ(s.writer.nr_used(), used);
  EXPECT_EQ(root.nr_blocks, nr_blocks);
  EXPECT_EQ(root.nr_allocated, used);

  const auto counts = s.counts(root);
  ASSERT_EQ(counts.size(), nr_blocks);
  for (std::uint64_t i = 0; i < nr_blocks; ++i) ASSERT_EQ(counts[i], i < used ? 1u : 0u) << i;
  // As the kernel counts: entries past the device's end are free.
  const auto& index = s.disk[{root.bitmap_root}].as<index_block>();
  std::uint64_t free = 0;
  for (std::uint32_t i = 0; i < bitmaps_for(nr_blocks); ++i) free += index.entries[i].nr_free;
  EXPECT_EQ(free, std::uint64_t{bitmaps_for(nr_blocks)} * counts_per_bitmap - used);
}

TEST(SpaceMapBuilder, CountsEveryBlockOnceItsOwnToo) {
  expect_space_map(4, 0);  // all in use
  expect_space_map(100, 7);
  expect_space_map(16320, 16316);
  expect_space_map(16320, 10);
  expect_space_map(16321, 10);
  // Its own blocks reach into the second bitmap.
  expect_space_map(40000, 16317);
  expect_space_map(40000, 39994);
}

TEST(SpaceMapBuilder, HasNoRoomWhereOneBlockIsMissing) {
  EXPECT_THROW(expect_space_map(3, 0), no_space);
  EXPECT_THROW(expect_space_map(16320, 16317), no_space);
}

}  // namespace
}  // namespace persistent_data
