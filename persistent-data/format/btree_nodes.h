// SPDX-License-Identifier: GPL-3.0-or-later
// Fills the nodes of a new btree, bottom-up, from entries that come in the order of their keys. The
// caller gives each node its place.
#pragma once

#include <cassert>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "persistent-data/format/divide_up.h"
#include "persistent-data/format/node_editor.h"

namespace persistent_data {

// The number of nodes on a level of nr_entries entries, and the entries of one node: all nodes are
// full except the last two, which share evenly, so that none is less than a third full.
struct node_layout {
  std::uint64_t nr_entries;
  std::uint32_t room;

  std::uint64_t nr_nodes() const noexcept {
    return nr_entries == 0 ? 1 : divide_up(nr_entries, room);
  }
  range entries_of(std::uint64_t node) const noexcept;
};

// The nodes of a whole tree, for a forecast of the space that it takes.
std::uint64_t btree_nodes_for(std::uint64_t nr_entries, std::uint32_t value_size) noexcept;

template <class Value>
struct btree_entry {
  std::uint64_t key;
  Value value;
};

// entries: size() and operator[], which returns a struct with key and value, by reference or by
// value; they ascend strictly. put_node(block&) gives a node its place, and returns it. Returns the
// root; no entries make an empty root. Holds one entry a node below, level by level.
template <class Value, class PutNode, class Entries>
block_nr build_btree_nodes(const PutNode& put_node, const Entries& entries,
                           node_flag kind = leaf_node) {
  const node_layout layout{entries.size(), max_node_entries(sizeof(Value))};
  std::vector<btree_entry<le64>> nodes;
  for (std::uint64_t i = 0; i < layout.nr_nodes(); ++i) {
    const range own = layout.entries_of(i);
    block b{};
    const node_editor node(b);
    node.make_empty(kind, sizeof(Value));
    for (std::uint64_t k = own.begin; k < own.end; ++k) {
      const auto& entry = entries[k];
      static_assert(std::is_same_v<std::decay_t<decltype(entry.value)>, Value>);
      node.append(entry.key, reinterpret_cast<const std::byte*>(&entry.value));
    }
    const block_nr where = put_node(b);
    nodes.push_back({own.empty() ? 0 : entries[own.begin].key, where.value});
  }
  if (nodes.size() == 1) return {nodes.front().value};
  return build_btree_nodes<le64>(put_node, nodes, internal_node);
}

}  // namespace persistent_data
