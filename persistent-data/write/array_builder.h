// SPDX-License-Identifier: GPL-3.0-or-later
// Builds an array from values that come in order; a block leaves as soon as it is full.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <span>

#include "persistent-data/format/array_block.h"
#include "persistent-data/write/block_writer.h"
#include "persistent-data/write/btree_builder.h"

namespace persistent_data {

// Returns the number of blocks of an array and its tree, for an estimate of space.
std::uint64_t array_space_for(std::uint64_t nr_values, std::uint32_t value_size) noexcept;

// Value is le32 or le64. Holds four bytes an array block.
template <class Value>
class array_builder {
 public:
  explicit array_builder(block_writer& writer) : writer_(writer) {}

  std::uint64_t size() const noexcept { return full_blocks() * room + filled_; }

  void append(Value value) {
    if (filled_ == room) write_block();
    values()[filled_++] = value;
  }

  void append(std::uint64_t count, Value value) {
    while (count > 0) {
      if (filled_ == room) write_block();
      const auto now = static_cast<std::uint32_t>(std::min<std::uint64_t>(count, room - filled_));
      std::fill_n(values() + filled_, now, value);
      filled_ += now;
      count -= now;
    }
  }

  void append(std::span<const Value> values) {
    while (!values.empty()) {
      if (filled_ == room) write_block();
      const auto now = std::min<std::size_t>(values.size(), room - filled_);
      std::copy_n(values.begin(), now, this->values() + filled_);
      filled_ += static_cast<std::uint32_t>(now);
      values = values.subspan(now);
    }
  }

  // The root; the builder is used up.
  block_nr finish() {
    if (filled_ > 0) write_block();
    return build_btree<le64>(writer_, blocks_);
  }

 private:
  static constexpr std::uint32_t room = max_array_entries(sizeof(Value));

  // The entries of the array's tree, by index. There may be two million: a deque does not copy them
  // to grow.
  struct list_of_blocks {
    std::deque<std::uint32_t> places;

    std::uint64_t size() const noexcept { return places.size(); }
    btree_entry<le64> operator[](std::uint64_t index) const { return {index, places[index]}; }
  };

  std::uint64_t full_blocks() const noexcept { return blocks_.size(); }
  Value* values() noexcept {
    return reinterpret_cast<Value*>(block_.bytes.data() + sizeof(array_header));
  }

  void write_block() {
    std::fill(values() + filled_, values() + room, Value(0));
    make_array_block<Value>(block_, filled_);
    blocks_.places.push_back(
        static_cast<std::uint32_t>(writer_.append(array_block_kind, block_).value));
    filled_ = 0;
  }

  block_writer& writer_;
  block block_{};
  std::uint32_t filled_ = 0;
  list_of_blocks blocks_;
};

}  // namespace persistent_data
