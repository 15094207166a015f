// SPDX-License-Identifier: GPL-3.0-or-later
// A btree that is changed by copies: each change returns the root of the tree as it is now, in
// place of the one that it was given.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <utility>

#include "persistent-data/format/btree_node.h"
#include "persistent-data/transaction/transaction.h"

namespace persistent_data {

// The references of values in leaves: counted when a leaf gets a second owner, and when a value
// goes.
struct value_references {
  std::function<void(const std::byte* value)> increment = [](const std::byte*) {};
  std::function<void(const std::byte* value)> decrement = [](const std::byte*) {};
};

// Values as bytes; btree below has them as a type. All throw as the transaction does, and
// damaged_metadata for nodes of a wrong shape.
class untyped_btree {
 public:
  untyped_btree(transaction&, std::uint32_t value_size, value_references);

  // All read one node of each level, except release, which reads all nodes that only this tree has.
  //
  // Makes an empty tree, and returns its root.
  block_nr make();
  // Gives up the reference to a root, and what goes with it.
  void release(block_nr root);

  // Returns false if the key is not there.
  bool lookup(block_nr root, std::uint64_t key, std::byte* value) const;
  // The lowest key; nullopt if the tree is empty.
  std::optional<std::uint64_t> lowest(block_nr root) const;

  // The others return the new root, and throw no_space, too.
  //
  // Releases the old value of the key, if there is one.
  block_nr insert(block_nr root, std::uint64_t key, const std::byte* value);
  // Throws damaged_metadata if there is no such key. change gets the value in a leaf that belongs
  // to this tree alone, and keeps the account of what it refers to itself.
  block_nr modify(block_nr root, std::uint64_t key, const std::function<void(std::byte*)>& change);
  // Throws damaged_metadata if there is no such key.
  block_nr remove(block_nr root, std::uint64_t key);

 private:
  class node;

  node read(block_nr) const;
  node shadow(block_nr);
  node create(node_flag);
  // Shadows child i on the way down, and updates the parent's pointer.
  node shadow_child(node& parent, std::uint32_t i);
  void split_root(node& root);
  void split_child(node& parent, std::uint32_t i, node& child, std::uint64_t key);
  void refill_child(node& parent, std::uint32_t i);
  void share(node& parent, std::uint32_t left, node& a, node& b);
  void release_below(block_nr, unsigned depth);
  [[noreturn]] void fail(block_nr, const std::string& why) const;

  transaction& tx_;
  std::uint32_t value_size_;
  value_references references_;
};

template <class Value>
class btree {
 public:
  explicit btree(transaction& tx, value_references references = {})
      : tree_(tx, sizeof(Value), std::move(references)) {}

  block_nr make() { return tree_.make(); }
  void release(block_nr root) { tree_.release(root); }
  std::optional<Value> lookup(block_nr root, std::uint64_t key) const {
    Value value;
    if (!tree_.lookup(root, key, reinterpret_cast<std::byte*>(&value))) return {};
    return value;
  }
  std::optional<std::uint64_t> lowest(block_nr root) const { return tree_.lowest(root); }
  block_nr insert(block_nr root, std::uint64_t key, const Value& value) {
    return tree_.insert(root, key, reinterpret_cast<const std::byte*>(&value));
  }
  block_nr remove(block_nr root, std::uint64_t key) { return tree_.remove(root, key); }

  template <class Change>
  block_nr modify(block_nr root, std::uint64_t key, Change change) {
    return tree_.modify(root, key,
                        [&](std::byte* value) { change(*reinterpret_cast<Value*>(value)); });
  }

 private:
  untyped_btree tree_;
};

}  // namespace persistent_data
