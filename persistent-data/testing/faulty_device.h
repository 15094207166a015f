// SPDX-License-Identifier: GPL-3.0-or-later
// For tests: a device that takes writes into a cache, completes them in any order, cuts them short
// and fails when it is told to; and that loses its power.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "persistent-data/format/strong.h"
#include "persistent-data/io/write_queue.h"
#include "persistent-data/testing/scratch_device.h"

namespace persistent_data::test {

class faulty_device {
 public:
  // on_disk: what has been flushed.
  explicit faulty_device(scratch_device& on_disk) : on_disk_(on_disk) {}

  std::size_t depth = 3;
  std::size_t longest_write = ~std::size_t{0};  // bytes; longer ones are cut short
  bool newest_first = false;                    // the order of completions

  // Writes and flushes are counted from 1: this one fails, and later ones too if that is set.
  std::uint64_t failing_operation = 0;
  bool fails_for_good = false;
  int error = 5;  // EIO; 0: a write that gets nowhere

  std::unique_ptr<write_queue> make_queue(const std::string& name = "out");

  std::uint64_t operations() const noexcept { return operations_; }
  std::uint64_t flushes() const noexcept { return flushes_; }
  // Each write that was asked for, in blocks.
  const std::vector<range>& requests() const noexcept { return requests_; }
  std::size_t most_under_way() const noexcept { return most_under_way_; }

  // The power goes: of what was not flushed, nothing, everything or only the last block arrives.
  enum class arriving { nothing, everything, last_block };
  void lose_power(arriving);

 private:
  class engine;

  block newest(block_nr) const;
  int next_operation();
  int flush();
  void keep(arriving);

  scratch_device& on_disk_;
  std::vector<std::pair<block_nr, block>> cached_;
  std::map<std::uint64_t, std::size_t> newest_;  // by block: where it is in cached_
  std::uint64_t operations_ = 0, flushes_ = 0;
  std::vector<range> requests_;
  std::size_t most_under_way_ = 0;
};

}  // namespace persistent_data::test
