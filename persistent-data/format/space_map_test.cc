// SPDX-License-Identifier: GPL-3.0-or-later
// The two-bit counts, in the bit order of the format, and the layouts of index and bitmap.
#include "persistent-data/format/space_map.h"

#include <gtest/gtest.h>

#include <random>

#include "persistent-data/testing/blocks.h"

namespace persistent_data {
namespace {

// Entry i is in byte i / 4, its high bit at bit 2 * (i % 4), its low bit at the next.
TEST(SpaceMapCount, LiesInItsBits) {
  struct {
    std::uint32_t entry, count;
    std::size_t byte;
    int value;
  } const cases[] = {
      {0, 1, 0, 0b00000010}, {0, 2, 0, 0b00000001}, {0, 3, 0, 0b00000011},
      {1, 1, 0, 0b00001000}, {1, 2, 0, 0b00000100}, {2, 1, 0, 0b00100000},
      {2, 2, 0, 0b00010000}, {3, 1, 0, 0b10000000}, {3, 2, 0, 0b01000000},
      {3, 3, 0, 0b11000000}, {4, 1, 1, 0b00000010}, {16319, 1, 4079, 0b10000000},
  };
  for (const auto& c : cases) {
    block b{};
    set_count(b.as<bitmap_block>(), c.entry, c.count);
    for (std::size_t i = 0; i < block_size; ++i)
      ASSERT_EQ(b.bytes[i], std::byte(i == 16 + c.byte ? c.value : 0)) << c.entry << " " << i;
    EXPECT_EQ(count_at(b.as<bitmap_block>(), c.entry), c.count);
  }
}

TEST(SpaceMapCount, FourInAByte) {
  block b{};
  b.bytes[16 + 7] = std::byte{0b11'01'10'00};
  const auto& bitmap = b.as<bitmap_block>();
  EXPECT_EQ(count_at(bitmap, 28), 0u);
  EXPECT_EQ(count_at(bitmap, 29), 1u);
  EXPECT_EQ(count_at(bitmap, 30), 2u);
  EXPECT_EQ(count_at(bitmap, 31), 3u);
  EXPECT_EQ(count_at(bitmap, 27), 0u);
  EXPECT_EQ(count_at(bitmap, 32), 0u);
}

TEST(SpaceMapCount, IsSetWithoutItsNeighbours) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  block b{};
  auto& bitmap = b.as<bitmap_block>();
  std::vector<std::uint32_t> counts(counts_per_bitmap);
  for (int round = 0; round < 100000; ++round) {
    const auto i = static_cast<std::uint32_t>(random() % counts_per_bitmap);
    counts[i] = static_cast<std::uint32_t>(random() % 4);
    set_count(bitmap, i, counts[i]);
  }
  for (std::uint32_t i = 0; i < counts_per_bitmap; ++i) ASSERT_EQ(count_at(bitmap, i), counts[i]);
  // And as the tests' own blocks are made.
  prepare_for_write(space_map_bitmap_kind, b, {6});
  EXPECT_EQ(test::make_bitmap({6}, counts).bytes, b.bytes);
}

TEST(SpaceMapIndex, IsReadFromItsPlaces) {
  block b{};
  b.bytes[16 + 254 * 16] = std::byte{7};
  b.bytes[16 + 254 * 16 + 8] = std::byte{8};
  b.bytes[16 + 254 * 16 + 12] = std::byte{9};
  const index_entry& last = b.as<index_block>().entries[254];
  EXPECT_EQ(last.blocknr, 7u);
  EXPECT_EQ(last.nr_free, 8u);
  EXPECT_EQ(last.none_free_before, 9u);
}

TEST(SpaceMapRoot, IsReadFromItsPlaces) {
  unsigned char bytes[32] = {};
  bytes[0] = 1, bytes[8] = 2, bytes[16] = 3, bytes[24] = 4;
  disk_sm_root root;
  std::memcpy(&root, bytes, sizeof root);
  EXPECT_EQ(root.nr_blocks, 1u);
  EXPECT_EQ(root.nr_allocated, 2u);
  EXPECT_EQ(root.bitmap_root, 3u);
  EXPECT_EQ(root.ref_count_root, 4u);
}

TEST(SpaceMapBitmaps, HowManyBitmapsItHas) {
  EXPECT_EQ(bitmaps_for(0), 0u);
  EXPECT_EQ(bitmaps_for(1), 1u);
  EXPECT_EQ(bitmaps_for(16320), 1u);
  EXPECT_EQ(bitmaps_for(16321), 2u);
  EXPECT_EQ(bitmaps_for(max_metadata_blocks), max_bitmaps);
  EXPECT_EQ(max_metadata_blocks, 4161600u);
}

}  // namespace
}  // namespace persistent_data
