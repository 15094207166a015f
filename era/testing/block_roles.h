// SPDX-License-Identifier: GPL-3.0-or-later
// The purpose of each used block of sound metadata: found by a walk of its own that shares no code
// with the readers that it serves to test.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "era/damage/finding.h"
#include "persistent-data/format/block.h"

namespace era::test {

namespace pd = persistent_data;

enum class role {
  superblock,
  snapshot_superblock,
  writeset_node,  // of the writeset tree
  era_node,       // of the tree over the era array's blocks
  bitset_node,    // of the tree over a bitset's blocks
  count_node,     // of the tree of large reference counts
  era_block,
  bitset_block,
  index,
  bitmap
};
std::string_view name(role);
const pd::block_kind& kind_of(role);

struct used_block {
  role what = role::superblock;
  std::uint64_t parent = 0;  // holds the pointer to it
  bool live = false, in_snapshot = false;

  // For an array block.
  place where;        // in the live view if it is in both
  bool last = false;  // of its array
  std::uint64_t nr_bits = 0;
  bool past_end = false;  // of the array is the block, or one that it leads to: nobody reads that
  std::optional<pd::range> live_span, snapshot_span;  // the origin blocks that it covers
};

using used_blocks = std::map<std::uint64_t, used_block>;

// The metadata must be sound.
used_blocks find_roles(std::span<const pd::block> metadata);

// The blocks whose count in the space map's bitmaps is not 0.
std::vector<std::uint64_t> counted_blocks(std::span<const pd::block> metadata);

}  // namespace era::test
