// SPDX-License-Identifier: GPL-3.0-or-later
// A block of an array: a header, then packed values. Which block of the array it is, is known only
// to the btree over the array's blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "persistent-data/format/block.h"
#include "persistent-data/format/divide_up.h"
#include "persistent-data/format/le.h"

namespace persistent_data {

struct array_header {
  le32 csum;
  le32 max_entries;
  le32 nr_entries;
  le32 value_size;
  le64 blocknr;
};
static_assert(sizeof(array_header) == 24);
static_assert(offsetof(array_header, blocknr) == array_block_kind.blocknr_offset);

// 1018 for le32, 509 for le64.
constexpr std::uint32_t max_array_entries(std::uint32_t value_size) noexcept {
  return static_cast<std::uint32_t>((block_size - sizeof(array_header)) / value_size);
}
static_assert(max_array_entries(4) == 1018 && max_array_entries(8) == 509);

// Returns the number of array blocks of an array of nr_values values.
constexpr std::uint64_t array_blocks_for(std::uint64_t nr_values,
                                         std::uint32_t value_size) noexcept {
  return divide_up(nr_values, max_array_entries(value_size));
}

// The shape of an array block whose checksum holds. nr_entries is how many values the block has to
// have: all blocks of an array but the last are full.
std::optional<error_detail> validate_array_block(const block&, std::uint32_t value_size,
                                                 std::uint32_t nr_entries);

// The same for any number of values, if the right number is unknown.
inline bool is_array_block_of(const block& b, std::uint32_t value_size) {
  const std::uint32_t entries = b.as<array_header>().nr_entries;
  return entries <= max_array_entries(value_size) && !validate_array_block(b, value_size, entries);
}

// Returns true if the block was read and is a sound array block of values of this size. b: nullptr
// if it could not be read.
inline bool is_sound_array_block(const block* b, block_nr where, std::uint32_t value_size) {
  return b && identify(*b, where) == &array_block_kind && is_array_block_of(*b, value_size);
}

// The values of a block that validate_array_block has accepted; borrows the block.
template <class Value>
std::span<const Value> array_values(const block& b) noexcept {
  static_assert(alignof(Value) == 1);
  return {reinterpret_cast<const Value*>(b.bytes.data() + sizeof(array_header)),
          b.as<array_header>().nr_entries};
}

// The same to be changed.
template <class Value>
std::span<Value> array_values(block& b) noexcept {
  static_assert(alignof(Value) == 1);
  return {reinterpret_cast<Value*>(b.bytes.data() + sizeof(array_header)),
          b.as<array_header>().nr_entries};
}

// Makes the block an array block of nr_entries values, and returns them. They are the bytes that
// were there. The caller sets its checksum and location with prepare_for_write().
template <class Value>
std::span<Value> make_array_block(block& b, std::uint32_t nr_entries) noexcept {
  auto& header = b.as<array_header>();
  header.max_entries = max_array_entries(sizeof(Value));
  header.nr_entries = nr_entries;
  header.value_size = sizeof(Value);
  return array_values<Value>(b);
}

// All that the block has room for, whatever its number of values says: for evidence from a block
// whose header may lie. The kernel leaves zeros, or older values, after the last one.
template <class Value>
std::span<const Value> array_room(const block& b) noexcept {
  static_assert(alignof(Value) == 1);
  return {reinterpret_cast<const Value*>(b.bytes.data() + sizeof(array_header)),
          max_array_entries(sizeof(Value))};
}

}  // namespace persistent_data
