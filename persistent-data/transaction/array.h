// SPDX-License-Identifier: GPL-3.0-or-later
// An array that is changed by copies, as the btree over its blocks is.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <span>

#include "persistent-data/format/array_block.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/transaction/btree.h"

namespace persistent_data {

// Value is le32 or le64. Each change returns the root as it is now. Throws as btree does.
template <class Value>
class array {
 public:
  static constexpr std::uint32_t values_per_block = max_array_entries(sizeof(Value));

  explicit array(transaction& tx)
      : tx_(tx),
        tree_(tx, {[this](const std::byte* value) { tx_.counts().increment(block_in(value)); },
                   [this](const std::byte* value) { tx_.counts().decrement(block_in(value)); }}) {}
  array(const array&) = delete;
  array& operator=(const array&) = delete;

  block_nr make() { return tree_.make(); }
  void release(block_nr root) { tree_.release(root); }

  // take(std::span<const Value>) sees the values of one of its blocks.
  template <class Take>
  void read_block(block_nr root, std::uint64_t block, Take take) const {
    const auto where = tree_.lookup(root, block);
    if (!where) throw damaged_metadata(fmt::format("block {} of an array is missing", block));
    const block_ptr b = tx_.read(array_block_kind, {*where});
    check(*b);
    take(array_values<Value>(b->content));
  }

  // change(std::span<Value>) may change the values of one of its blocks.
  template <class Change>
  block_nr change_block(block_nr root, std::uint64_t block, Change change) {
    return tree_.modify(root, block, [&](le64& pointer) {
      check(*tx_.read(array_block_kind, {pointer}));
      const auto shadow = tx_.shadow_of(array_block_kind, {pointer});
      pointer = shadow.block->where.value;
      change(array_values<Value>(shadow.block->content));
    });
  }

  // New values are fill.
  block_nr resize(block_nr root, std::uint64_t size, std::uint64_t new_size, Value fill) {
    const std::uint64_t blocks = array_blocks_for(size, sizeof(Value));
    const std::uint64_t new_blocks = array_blocks_for(new_size, sizeof(Value));
    for (std::uint64_t b = blocks; b > new_blocks; --b) root = tree_.remove(root, b - 1);
    if (blocks > 0 && new_blocks > 0 && size != new_size) {
      const std::uint64_t last = std::min(blocks, new_blocks) - 1;
      if (in_block(size, last) != in_block(new_size, last))
        root = set_size(root, last, in_block(size, last), in_block(new_size, last), fill);
    }
    for (std::uint64_t b = blocks; b < new_blocks; ++b) {
      // A kernel can leave blocks after the array when it makes it smaller.
      if (tree_.lookup(root, b)) root = tree_.remove(root, b);
      root = tree_.insert(root, b, le64(make_block(in_block(new_size, b), fill).value));
    }
    return root;
  }

 private:
  static block_nr block_in(const std::byte* value) {
    return {*reinterpret_cast<const le64*>(value)};
  }
  static std::uint32_t in_block(std::uint64_t size, std::uint64_t block) {
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(size - block * values_per_block, values_per_block));
  }

  // A block may hold fewer values than it has to, if the metadata is wrong.
  [[noreturn]] static void fail(block_nr where) {
    throw damaged_metadata(fmt::format("metadata block {} is no such array block", where));
  }

  static void check(const cached_block& b) {
    if (!is_array_block_of(b.content, sizeof(Value))) fail(b.where);
  }

  block_nr make_block(std::uint32_t size, Value fill) {
    const block_ptr b = tx_.create(array_block_kind);
    std::ranges::fill(make_array_block<Value>(b->content, size), fill);
    return b->where;
  }

  block_nr set_size(block_nr root, std::uint64_t block, std::uint32_t before, std::uint32_t size,
                    Value fill) {
    return tree_.modify(root, block, [&](le64& pointer) {
      const auto shadow = tx_.shadow_of(array_block_kind, {pointer});
      check(*shadow.block);
      pointer = shadow.block->where.value;
      auto& header = shadow.block->content.as<array_header>();
      if (header.nr_entries != before) fail(shadow.block->where);
      header.nr_entries = std::max(before, size);
      const auto values = array_values<Value>(shadow.block->content);
      std::fill(values.begin() + std::min(before, size), values.end(),
                size > before ? fill : Value(0));
      header.nr_entries = size;
    });
  }

  transaction& tx_;
  btree<le64> tree_;
};

}  // namespace persistent_data
