// SPDX-License-Identifier: GPL-3.0-or-later
// An engine over a device that does whatever a device may do: short reads, errors for chosen
// blocks, completions in any order.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <stdexcept>
#include <vector>

#include "persistent-data/format/block.h"
#include "persistent-data/io/io_engine.h"
#include "persistent-data/io/short_transfer.h"

namespace persistent_data::test {

using ranges = std::vector<range>;
using blocks = std::vector<block_nr>;

// Block b of every device here holds its number in each of its words.
inline void stamp(block& b, std::uint64_t number) {
  for (std::size_t i = 0; i < block_size / sizeof number; ++i)
    b.as<std::array<le64, block_size / sizeof(le64)>>()[i] = number;
}
inline bool is_stamped(const block& b, std::uint64_t number) {
  block expected;
  stamp(expected, number);
  return b.bytes == expected.bytes;
}

// The behaviour of a device. Every request that has a bad block fails whole, as in the kernel, or,
// if partial, delivers what lies before it.
struct behaviour {
  std::size_t depth = 4;
  std::map<std::uint64_t, int> errors = {};  // by block
  bool partial = false;
  // No read delivers more bytes than that: of several blocks, and of one.
  std::int64_t at_most = std::numeric_limits<std::int64_t>::max();
  std::int64_t at_most_of_one = std::numeric_limits<std::int64_t>::max();
  enum { in_order, newest_first, at_random } order = in_order;
  std::uint64_t end = 1000;  // reads at or past this block deliver nothing
};

// Requests to the device, in blocks.
struct request_log {
  std::vector<range> requests;
  std::size_t most_under_way = 0;
};

class fake_engine final : public io_engine {
 public:
  fake_engine(behaviour b, request_log& log, unsigned seed)
      : behaviour_(std::move(b)), log_(log), random_(seed) {}
  // Requests under way are still written, as a device would: the buffers have to be there.
  ~fake_engine() override {
    while (!under_way_.empty()) wait();
  }

  std::size_t depth() const noexcept override { return behaviour_.depth; }

  void submit(const io_request& r) override {
    EXPECT_LT(under_way_.size(), behaviour_.depth);
    // Whole blocks, or the rest of one.
    const std::uint64_t unit = r.bytes < block_size ? sector_size : block_size;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(r.buffer) % unit, 0u);
    EXPECT_GT(r.bytes, 0u);
    EXPECT_EQ(r.bytes % unit, 0u);
    EXPECT_EQ(r.offset % unit, 0u);
    if (unit == sector_size) {
      EXPECT_EQ((r.offset + r.bytes) % block_size, 0u);
    }
    for (const io_request& other : under_way_)
      EXPECT_TRUE(r.buffer >= other.buffer + other.bytes || other.buffer >= r.buffer + r.bytes);
    log_.requests.push_back({r.offset / block_size, (r.offset + r.bytes) / block_size});
    under_way_.push_back(r);
    log_.most_under_way = std::max(log_.most_under_way, under_way_.size());
  }

  io_completion wait() override {
    EXPECT_FALSE(under_way_.empty()) << "a wait that would not end";
    if (under_way_.empty()) throw std::logic_error("nothing is under way");
    std::size_t i = 0;
    if (behaviour_.order == behaviour::newest_first) i = under_way_.size() - 1;
    if (behaviour_.order == behaviour::at_random) i = random_() % under_way_.size();
    const io_request r = under_way_[i];
    under_way_.erase(under_way_.begin() + static_cast<std::ptrdiff_t>(i));
    const std::int64_t result = answer(r);
    std::memset(r.buffer, 0xee, r.bytes);
    for (std::uint64_t at = r.offset; static_cast<std::int64_t>(at - r.offset) < result;) {
      block content;
      stamp(content, at / block_size);
      const std::uint64_t begin = at % block_size;
      const std::uint64_t n =
          std::min(block_size - begin, r.offset + static_cast<std::uint64_t>(result) - at);
      std::memcpy(r.buffer + (at - r.offset), content.bytes.data() + begin, n);
      at += n;
    }
    return {r.tag, result};
  }

 private:
  std::int64_t answer(const io_request& r) const {
    const std::uint64_t first = r.offset / block_size;
    const std::uint64_t n = (r.offset + r.bytes) / block_size - first;
    auto result = static_cast<std::int64_t>(r.bytes);
    result = std::min(result, n > 1 ? behaviour_.at_most : behaviour_.at_most_of_one);
    if (first + n > behaviour_.end)
      result = first >= behaviour_.end
                   ? 0
                   : static_cast<std::int64_t>((behaviour_.end - first) * block_size);
    const auto bad = behaviour_.errors.lower_bound(first);
    if (bad == behaviour_.errors.end() || bad->first >= first + n) return result;
    if (!behaviour_.partial || bad->first == first) return -bad->second;
    return std::min(result, static_cast<std::int64_t>((bad->first - first) * block_size));
  }

  behaviour behaviour_;
  request_log& log_;
  std::mt19937 random_;
  std::vector<io_request> under_way_;
};

inline blocks from_to(std::uint64_t begin, std::uint64_t end) {
  blocks made;
  for (std::uint64_t b = begin; b < end; ++b) made.push_back({b});
  return made;
}

}  // namespace persistent_data::test
