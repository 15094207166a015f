// SPDX-License-Identifier: GPL-3.0-or-later
// A node of a btree: a header, then max_entries keys, then max_entries values. Internal nodes hold
// child blocks; leaves hold values whose size depends on the tree.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "persistent-data/format/block.h"
#include "persistent-data/format/le.h"

namespace persistent_data {

struct node_header {
  le32 csum;
  le32 flags;  // node_flag
  le64 blocknr;
  le32 nr_entries;
  le32 max_entries;
  le32 value_size;
  le32 padding;
};
static_assert(sizeof(node_header) == 32);
static_assert(offsetof(node_header, blocknr) == btree_node_kind.blocknr_offset);
static_assert(offsetof(node_header, nr_entries) == 16);

enum node_flag : std::uint32_t { internal_node = 1, leaf_node = 2 };

// Internal nodes' values are child blocks.
inline constexpr std::uint32_t child_size = sizeof(le64);

// 252 for 8-byte values, 201 for 12, 336 for 4: rounded down to a multiple of three, so that a node
// can be split in thirds.
constexpr std::uint32_t max_node_entries(std::uint32_t value_size) noexcept {
  const auto fit =
      static_cast<std::uint32_t>((block_size - sizeof(node_header)) / (sizeof(le64) + value_size));
  return fit / 3 * 3;
}
static_assert(max_node_entries(4) == 336 && max_node_entries(8) == 252 &&
              max_node_entries(12) == 201);

// A tree of more levels cannot be filled by any device: 84 children (a third of 252) in every node
// reach past the largest metadata device in four levels. A bound for hostile metadata.
inline constexpr unsigned max_btree_depth = 16;

// The shape of a node whose checksum holds: flags, sizes, counts and the order of its keys.
std::optional<error_detail> validate_node(const block&, std::uint32_t leaf_value_size);

// Read access to a node that validate_node has accepted; borrows the block.
class node_view {
 public:
  explicit node_view(const block& b) noexcept : bytes_(b.bytes.data()) {}

  bool is_leaf() const noexcept { return header().flags == leaf_node; }
  std::uint32_t size() const noexcept { return header().nr_entries; }
  std::uint64_t key(std::uint32_t i) const noexcept {
    assert(i < size());
    return reinterpret_cast<const le64*>(bytes_ + sizeof(node_header))[i];
  }

  // Value is a struct of the tree's value size.
  template <class Value>
  const Value& value(std::uint32_t i) const noexcept {
    static_assert(alignof(Value) == 1);
    assert(i < size() && header().value_size == sizeof(Value));
    return reinterpret_cast<const Value*>(bytes_ + sizeof(node_header) +
                                          header().max_entries * sizeof(le64))[i];
  }

  block_nr child(std::uint32_t i) const noexcept { return {value<le64>(i)}; }

 private:
  const node_header& header() const noexcept {
    return *reinterpret_cast<const node_header*>(bytes_);
  }

  const std::byte* bytes_;
};

}  // namespace persistent_data
