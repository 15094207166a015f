// SPDX-License-Identifier: GPL-3.0-or-later
// Computes the space of an array: its blocks, and the nodes of the tree over them.
#include "persistent-data/write/array_builder.h"

namespace persistent_data {

std::uint64_t array_space_for(std::uint64_t nr_values, std::uint32_t value_size) noexcept {
  const std::uint64_t blocks = array_blocks_for(nr_values, value_size);
  return blocks + btree_nodes_for(blocks, sizeof(le64));
}

}  // namespace persistent_data
