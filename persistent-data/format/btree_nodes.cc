// SPDX-License-Identifier: GPL-3.0-or-later
// Nodes, and how entries are shared among them.
#include "persistent-data/format/btree_nodes.h"

#include <algorithm>

namespace persistent_data {

range node_layout::entries_of(std::uint64_t node) const noexcept {
  const std::uint64_t nodes = nr_nodes();
  assert(node < nodes);
  const std::uint64_t full = nodes >= 2 ? (nodes - 2) * room : 0;
  if (nodes < 2) return {0, nr_entries};
  if (node < nodes - 2) return {node * room, (node + 1) * room};
  const std::uint64_t middle = full + (nr_entries - full + 1) / 2;
  return node == nodes - 2 ? range{full, middle} : range{middle, nr_entries};
}

std::uint64_t btree_nodes_for(std::uint64_t nr_entries, std::uint32_t value_size) noexcept {
  std::uint64_t nodes = node_layout{nr_entries, max_node_entries(value_size)}.nr_nodes();
  std::uint64_t all = nodes;
  while (nodes > 1) all += nodes = node_layout{nodes, max_node_entries(child_size)}.nr_nodes();
  return all;
}

}  // namespace persistent_data
