// SPDX-License-Identifier: GPL-3.0-or-later
// Reads a space map whole: its index, its bitmaps and its btree of larger counts.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "persistent-data/format/block.h"
#include "persistent-data/format/block_error.h"
#include "persistent-data/format/space_map.h"
#include "persistent-data/read/btree_walk.h"

namespace persistent_data {

class space_map {
 public:
  // The blocks that it counts; never more than the device has.
  std::uint64_t nr_blocks() const noexcept { return nr_blocks_; }

  // References of a block below nr_blocks(); nullopt if damage hides the count.
  std::optional<std::uint32_t> count(block_nr) const;

 private:
  friend class space_map_reader;

  std::optional<std::uint32_t> large_count(block_nr) const;

  std::uint64_t nr_blocks_ = 0;
  std::vector<std::optional<bitmap_block>> bitmaps_;  // at most 255: a megabyte
  // Counts of three and more, by block; if the tree is damaged, the gaps that it leaves.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> large_;
  std::vector<range> large_lost_;
};

// Reads the space map that a superblock's root describes and checks it against itself: the free
// counts, the lower bounds, nr_allocated, the counts that are in the tree and those that are said
// to be. Damage goes to the sink (hidden: metadata blocks whose counts are lost); the space map's
// own blocks are noted in the counter.
space_map read_space_map(btree_walk&, const disk_sm_root&, const block_error_sink&);

}  // namespace persistent_data
