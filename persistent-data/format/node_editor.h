// SPDX-License-Identifier: GPL-3.0-or-later
// Write access to a btree node, for all that write nodes: built ones, those of a transaction, and
// the space map's.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <optional>

#include "persistent-data/format/btree_node.h"

namespace persistent_data {

// Borrows a block that holds a node which validate_node has accepted, or which make_empty() made.
// The caller sets its checksum and location with prepare_for_write().
class node_editor {
 public:
  explicit node_editor(block& b) noexcept : bytes_(b.bytes.data()) {}

  // Makes the block a node without entries. The rest of the block keeps its bytes.
  void make_empty(node_flag kind, std::uint32_t value_size) const noexcept {
    node_header& h = header();
    h.flags = kind;
    h.nr_entries = 0;
    h.max_entries = max_node_entries(value_size);
    h.value_size = value_size;
  }

  bool is_leaf() const noexcept { return header().flags == leaf_node; }
  node_flag kind() const noexcept { return is_leaf() ? leaf_node : internal_node; }
  std::uint32_t size() const noexcept { return header().nr_entries; }
  std::uint32_t room() const noexcept { return header().max_entries; }
  bool is_full() const noexcept { return size() == room(); }
  std::uint64_t key(std::uint32_t i) const noexcept { return keys()[i]; }
  std::byte* value(std::uint32_t i) const noexcept {
    return reinterpret_cast<std::byte*>(keys() + room()) + std::size_t{i} * header().value_size;
  }
  block_nr child(std::uint32_t i) const noexcept { return {*reinterpret_cast<le64*>(value(i))}; }

  void set_key(std::uint32_t i, std::uint64_t key) const noexcept { keys()[i] = key; }
  void set_child(std::uint32_t i, block_nr b) const noexcept {
    *reinterpret_cast<le64*>(value(i)) = b.value;
  }

  // How many keys are not above this one.
  std::uint32_t upper_bound(std::uint64_t key) const noexcept {
    return static_cast<std::uint32_t>(
        std::upper_bound(keys(), keys() + size(), key,
                         [](std::uint64_t a, const le64& b) { return a < b; }) -
        keys());
  }
  // The entry that leads to a key: the last that is not above it, or the first.
  std::uint32_t entry_for(std::uint64_t key) const noexcept {
    const std::uint32_t above = upper_bound(key);
    return above == 0 ? 0 : above - 1;
  }
  std::optional<std::uint32_t> find(std::uint64_t key) const noexcept {
    const std::uint32_t above = upper_bound(key);
    if (above == 0 || this->key(above - 1) != key) return {};
    return above - 1;
  }

  // Before entry i; the node must not be full.
  void insert(std::uint32_t i, std::uint64_t key, const std::byte* v) const noexcept {
    assert(!is_full() && i <= size());
    const std::uint32_t n = size(), width = header().value_size;
    std::copy_backward(keys() + i, keys() + n, keys() + n + 1);
    std::memmove(value(i + 1), value(i), std::size_t{n - i} * width);
    keys()[i] = key;
    std::memcpy(value(i), v, width);
    header().nr_entries = n + 1;
  }
  void insert_child(std::uint32_t i, std::uint64_t key, block_nr child) const noexcept {
    const le64 pointer = child.value;
    insert(i, key, reinterpret_cast<const std::byte*>(&pointer));
  }
  void append(std::uint64_t key, const std::byte* v) const noexcept { insert(size(), key, v); }
  void append_child(std::uint64_t key, block_nr child) const noexcept {
    insert_child(size(), key, child);
  }

  void erase(std::uint32_t first, std::uint32_t count) const noexcept {
    const std::uint32_t n = size(), width = header().value_size, rest = n - first - count;
    std::copy(keys() + first + count, keys() + n, keys() + first);
    std::memmove(value(first), value(first + count), std::size_t{rest} * width);
    header().nr_entries = n - count;
  }
  // Moves entries [first, first + count) to the end, or to the beginning, of another node.
  void move_to_end(const node_editor& to, std::uint32_t first, std::uint32_t count) const noexcept {
    const std::uint32_t n = to.size();
    assert(n + count <= to.room());
    std::copy_n(keys() + first, count, to.keys() + n);
    std::memcpy(to.value(n), value(first), std::size_t{count} * header().value_size);
    to.header().nr_entries = n + count;
    erase(first, count);
  }
  void move_to_begin(const node_editor& to, std::uint32_t first,
                     std::uint32_t count) const noexcept {
    const std::uint32_t n = to.size();
    assert(n + count <= to.room());
    std::copy_backward(to.keys(), to.keys() + n, to.keys() + n + count);
    std::memmove(to.value(count), to.value(0), std::size_t{n} * header().value_size);
    std::copy_n(keys() + first, count, to.keys());
    std::memcpy(to.value(0), value(first), std::size_t{count} * header().value_size);
    to.header().nr_entries = n + count;
    erase(first, count);
  }

 private:
  node_header& header() const noexcept { return *reinterpret_cast<node_header*>(bytes_); }
  le64* keys() const noexcept { return reinterpret_cast<le64*>(bytes_ + sizeof(node_header)); }

  std::byte* bytes_;
};

}  // namespace persistent_data
