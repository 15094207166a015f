// SPDX-License-Identifier: GPL-3.0-or-later
// For tests of what changes trees, arrays and bitsets: all entries of a tree, single values, single
// bits.
#pragma once

#include <cstdint>

#include "persistent-data/format/btree_node.h"
#include "persistent-data/transaction/array.h"
#include "persistent-data/transaction/bitset.h"

namespace persistent_data::test {

// Calls take(key, value) for each entry of a sound tree, in ascending order of keys.
template <class Value, class Take>
void each_entry(transaction& tx, block_nr root, const Take& take) {
  const block_ptr b = tx.read(btree_node_kind, root);
  const node_view node(b->content);
  for (std::uint32_t i = 0; i < node.size(); ++i) {
    if (node.is_leaf())
      take(node.key(i), node.value<Value>(i));
    else
      each_entry<Value>(tx, node.child(i), take);
  }
}

template <class Value>
Value get(const array<Value>& values, block_nr root, std::uint64_t index) {
  constexpr std::uint32_t per_block = array<Value>::values_per_block;
  Value value{};
  values.read_block(root, index / per_block,
                    [&](std::span<const Value> all) { value = all[index % per_block]; });
  return value;
}

// Returns the new root.
template <class Value>
block_nr set(array<Value>& values, block_nr root, std::uint64_t index, Value value) {
  constexpr std::uint32_t per_block = array<Value>::values_per_block;
  return values.change_block(root, index / per_block,
                             [&](std::span<Value> all) { all[index % per_block] = value; });
}

inline bool is_set(const bitset& bits, block_nr root, std::uint64_t bit) {
  bool found = false;
  bits.for_each_set(root, range{bit, bit + 1}, [&](std::uint64_t) { return found = true; });
  return found;
}

}  // namespace persistent_data::test
