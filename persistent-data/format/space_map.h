// SPDX-License-Identifier: GPL-3.0-or-later
// The space map: how many references each metadata block has. An index block points to bitmaps of
// two-bit counts; a count of three means that the real one is in the btree of larger counts.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "persistent-data/format/block.h"
#include "persistent-data/format/divide_up.h"
#include "persistent-data/format/le.h"

namespace persistent_data {

// In the first 32 bytes of the superblock's metadata_space_map_root.
struct disk_sm_root {
  le64 nr_blocks;  // of the metadata device, as far as they are counted
  le64 nr_allocated;
  le64 bitmap_root;     // the index block
  le64 ref_count_root;  // the btree of counts of three and more
};
static_assert(sizeof(disk_sm_root) == 32);

inline constexpr std::uint32_t max_bitmaps = 255;
inline constexpr std::uint32_t counts_per_bitmap = 16320;
inline constexpr std::uint32_t count_in_tree = 3;
static_assert(std::uint64_t{max_bitmaps} * counts_per_bitmap == max_metadata_blocks);

struct index_entry {
  le64 blocknr;  // the bitmap
  le32 nr_free;
  le32 none_free_before;  // a lower bound on the first free entry
};

struct index_block {
  le32 csum;
  le32 padding;
  le64 blocknr;
  index_entry entries[max_bitmaps];
};
static_assert(sizeof(index_block) == block_size);
static_assert(offsetof(index_block, blocknr) == space_map_index_kind.blocknr_offset);

struct bitmap_block {
  le32 csum;
  le32 not_used;
  le64 blocknr;
  unsigned char counts[counts_per_bitmap / 4];
};
static_assert(sizeof(bitmap_block) == block_size);
static_assert(offsetof(bitmap_block, blocknr) == space_map_bitmap_kind.blocknr_offset);

constexpr std::uint32_t bitmaps_for(std::uint64_t nr_blocks) noexcept {
  return static_cast<std::uint32_t>(divide_up(nr_blocks, counts_per_bitmap));
}

// The two-bit count of entry i: its high bit is stored first.
inline std::uint32_t count_at(const bitmap_block& bitmap, std::uint32_t i) noexcept {
  assert(i < counts_per_bitmap);
  const unsigned pair = static_cast<unsigned>(bitmap.counts[i / 4]) >> (i % 4 * 2) & 3u;
  return (pair & 1u) << 1 | pair >> 1;
}

inline void set_count(bitmap_block& bitmap, std::uint32_t i, std::uint32_t count) noexcept {
  assert(i < counts_per_bitmap && count <= count_in_tree);
  const unsigned pair = (count & 1u) << 1 | count >> 1, shift = i % 4 * 2;
  auto& byte = bitmap.counts[i / 4];
  byte = static_cast<unsigned char>((byte & ~(3u << shift)) | pair << shift);
}

}  // namespace persistent_data
