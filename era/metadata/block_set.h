// SPDX-License-Identifier: GPL-3.0-or-later
// A choice of origin blocks, kept until all of it is known: stripe by stripe, as the places where
// runs begin and end, or as a bitmap if that is smaller. No stripe takes more than 4 KiB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "era/format/units.h"
#include "era/text/text_buffer.h"
#include "persistent-data/io/temp_file.h"

namespace era {

// The blocks of one stripe that belong to a set.
class stripe_set {
 public:
  // Block i has bit i % 64 of word i / 64; no bit past nr_blocks is set.
  stripe_set(std::span<const std::uint64_t> words, std::size_t nr_blocks);

 private:
  friend class block_set;

  std::vector<std::uint16_t> kept_;  // edges, ascending, or a bitmap's words in four
  bool is_bitmap_ = false;
  // Chosen blocks that the stripe begins with; are its last ones chosen, too?
  std::uint16_t leading_ = 0;
  bool goes_on_ = false;
  std::uint16_t edges_ = 0;    // whether or not they are kept as such
  std::uint16_t size_ = 0;     // in kept_, or in the temp_file
  std::uint64_t in_file_ = 0;  // where, if kept_ has nothing of it
};

class block_set {
 public:
  // Spills to a temp_file above this many bytes.
  static constexpr std::size_t default_memory = 128 << 20;
  explicit block_set(std::uint64_t nr_blocks, std::size_t memory = default_memory)
      : nr_blocks_(nr_blocks), memory_left_(memory) {}

  // The next stripe: blocks_per_stripe blocks, except for the last one. Throws pd::device_error.
  void add(stripe_set);

  // The memory that it takes now, in bytes, except for some for each stripe.
  std::size_t memory() const;

  // All stripes, in ranges that are just large enough to be printed by a thread each.
  std::vector<pd::range> print_ranges() const;

  // The runs that begin in a stripe, each as long as it goes, into later stripes too; they lie in
  // the buffer. When all has been added, and by any number of threads at the same time. Throws
  // pd::device_error.
  std::span<const origin_range> runs(std::size_t stripe, std::vector<origin_range>& buffer) const;

  // Returns true if any block of the range is in the set; none at or past the set's end is. When
  // all has been added. Looks at each stripe of the range up to the first such block: by a binary
  // search, after reading the stripe again if it is in the temp_file. Throws pd::device_error.
  bool overlaps(origin_range) const;

 private:
  origin_range blocks(std::size_t stripe) const;
  bool overlaps(std::size_t stripe, origin_range in_stripe) const;
  std::uint64_t end_of_run(std::size_t stripe) const;
  std::span<const std::uint16_t> kept_of(const stripe_set&,
                                         std::vector<std::uint16_t>& buffer) const;

  std::uint64_t nr_blocks_;
  std::size_t memory_left_;
  std::vector<stripe_set> stripes_;
  std::unique_ptr<pd::temp_file> file_;
};

// Called by any number of threads at the same time.
using run_formatter = std::function<void(text_buffer&, std::span<const origin_range>)>;

// Prints all runs. The text comes in order, in pieces of up to some megabytes.
void print_runs(const block_set&, unsigned nr_workers, const run_formatter&,
                const std::function<void(std::string_view)>& out);

}  // namespace era
