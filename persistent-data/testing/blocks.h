// SPDX-License-Identifier: GPL-3.0-or-later
// For tests: blocks made by hand, field by field, independently of the code that writes them. They
// have the checksum for the block number that is named first; nothing else about them is checked,
// so that a test can make wrong ones. A namespace `testing` would hide GoogleTest's: this one is
// `test`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "persistent-data/format/array_block.h"
#include "persistent-data/format/block.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/format/space_map.h"

namespace persistent_data::test {

// A node with these keys, in this order, and as many packed values of value_size bytes; max_entries
// is what the format says for that size.
block make_node(block_nr where, node_flag, const std::vector<std::uint64_t>& keys,
                std::span<const std::byte> values, std::uint32_t value_size);

// Value: le32, le64 or a struct of them, as the leaf holds it.
template <class Value>
block make_leaf(block_nr where, const std::vector<std::uint64_t>& keys,
                const std::vector<Value>& values) {
  static_assert(alignof(Value) == 1);
  return make_node(where, leaf_node, keys, std::as_bytes(std::span(values)), sizeof(Value));
}

block make_internal(block_nr where, const std::vector<std::uint64_t>& keys,
                    const std::vector<block_nr>& children);

block make_array_block(block_nr where, std::span<const std::byte> values, std::uint32_t value_size);

template <class Value>
block make_array_block(block_nr where, const std::vector<Value>& values) {
  static_assert(alignof(Value) == 1);
  return make_array_block(where, std::as_bytes(std::span(values)), sizeof(Value));
}

// Entries that are not named are zeros.
block make_index(block_nr where, const std::vector<index_entry>&);

// Counts from entry 0, each 0 to 3; those that are not named are 0.
block make_bitmap(block_nr where, const std::vector<std::uint32_t>& counts);

// Changes a field and makes the checksum right again:
// change_and_prepare<node_header>(btree_node_kind, b, {7},
// [](auto& header) { header.flags = 3; }).
template <class Layout, class Change>
void change_and_prepare(const block_kind& kind, block& b, block_nr where, Change change) {
  change(b.as<Layout>());
  prepare_for_write(kind, b, where);
}

}  // namespace persistent_data::test
