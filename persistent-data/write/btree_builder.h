// SPDX-License-Identifier: GPL-3.0-or-later
// Writes a new btree.
#pragma once

#include <span>

#include "persistent-data/format/btree_nodes.h"
#include "persistent-data/write/block_writer.h"

namespace persistent_data {

// As build_btree_nodes, with the nodes in the writer's next blocks.
template <class Value, class Entries = std::span<const btree_entry<Value>>>
block_nr build_btree(block_writer& writer, const Entries& entries) {
  const auto put_node = [&](block& node) { return writer.append(btree_node_kind, node); };
  return build_btree_nodes<Value>(put_node, entries);
}

}  // namespace persistent_data
