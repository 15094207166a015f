// SPDX-License-Identifier: GPL-3.0-or-later
// The list of an array's blocks, read from the tree over them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "persistent-data/format/array_block.h"
#include "persistent-data/format/block.h"
#include "persistent-data/format/block_error.h"
#include "persistent-data/read/btree_walk.h"

namespace persistent_data {

struct array_shape {
  std::uint64_t nr_values = 0;
  std::uint32_t value_size = 0;  // 4 or 8 bytes
};

// Takes 24 bytes, and 4 for each block up to the last that is known: hostile metadata may have
// millions of small arrays.
class array_map {
 public:
  array_map() = default;
  // An array of which no block is known.
  explicit array_map(array_shape shape)
      : nr_values_(shape.nr_values), value_size_(shape.value_size) {}

  std::uint64_t nr_values() const noexcept { return nr_values_; }
  std::uint32_t value_size() const noexcept { return value_size_; }
  std::uint64_t nr_blocks() const noexcept { return array_blocks_for(nr_values_, value_size_); }

  // The metadata block that holds the array's block i, i below nr_blocks(). Returns nullopt if it
  // is lost; the damage that hides it has been reported.
  std::optional<block_nr> block(std::uint64_t i) const noexcept {
    if (i >= known_end_ || blocks_[i] == 0) return {};
    return block_nr{blocks_[i]};
  }

  // How far blocks are known: all from here on are lost.
  std::uint64_t known_end() const noexcept { return known_end_; }

  // The values that the array's block i holds.
  range values_of(std::uint64_t i) const noexcept {
    const std::uint64_t full = max_array_entries(value_size_);
    return intersection({i * full, (i + 1) * full}, {0, nr_values_});
  }

  // Returns what is wrong with the array's block i, as a read queue delivered it.
  std::optional<error_detail> validate_block(std::uint64_t i, const persistent_data::block* data,
                                             int error) const;

 private:
  friend class array_mapper;  // fills it

  std::uint64_t nr_values_ = 0;
  std::uint32_t value_size_ = 1, known_end_ = 0;
  std::unique_ptr<std::uint32_t[]> blocks_;  // 0: lost
};
static_assert(sizeof(array_map) == 24);

// Blocks in an array's tree past those that its values need. A kernel that makes an array smaller
// can leave some: if the new size ends with a full block, the part of a block after it stays, and
// it stays when the array is made smaller again. An array that grows replaces them.
enum class surplus_blocks { damage, left_by_shrinking };

// Reads the tree of an array of this shape. Each damage goes to the sink
// once (hidden: values); the array's own blocks are noted in the counter and not read.
array_map map_array(btree_walk&, std::optional<block_nr> from, block_nr root, array_shape,
                    const block_error_sink&, surplus_blocks = surplus_blocks::damage);

// Learns an array's shape from its tree and its last block. The value_size of an array without
// blocks is 0. Returns nullopt if they are damaged, or are no array. Values in between may be
// damaged. The counter is used up. expected: a number of 4-byte values to prefer: it is returned if
// the block that holds the last of them ends with it, since later blocks are then left over from a
// larger array.
std::optional<array_shape> measure_array(btree_walk&, block_nr root,
                                         std::optional<std::uint64_t> expected = {});

}  // namespace persistent_data
