// SPDX-License-Identifier: GPL-3.0-or-later
// Devices that call a progress_function in the middle of long work. If it throws, the work ends.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "era/dm_target/target.h"
#include "era/format/superblock.h"
#include "persistent-data/io/block_store.h"
#include "persistent-data/io/progress_function.h"

namespace era::sim {

// Calls it before each read and each write, except a write of the superblock: until that one a
// transaction can be given up, and the last commit stands.
class interruptible_store final : public pd::block_store {
 public:
  interruptible_store(pd::block_store& store, pd::progress_function progress)
      : store_(store), progress_(std::move(progress)) {}

  const std::string& name() const noexcept override { return store_.name(); }
  std::uint64_t nr_blocks() const noexcept override { return store_.nr_blocks(); }
  void read(pd::block_nr where, pd::block& b) override {
    progress_();
    store_.read(where, b);
  }
  void write(pd::block_nr where, const pd::block& b) override {
    if (where != superblock_location) progress_();
    store_.write(where, b);
  }
  void flush() override { store_.flush(); }

 private:
  pd::block_store& store_;
  pd::progress_function progress_;
};

// Calls it before each piece of a discard. Reads and writes are not divided.
class interruptible_origin final : public origin_device {
 public:
  static constexpr std::uint64_t longest_discard = std::uint64_t{1} << 21;  // sectors: 1 GiB

  interruptible_origin(origin_device& origin, pd::progress_function progress)
      : origin_(origin), progress_(std::move(progress)) {}

  void read(std::uint64_t sector, std::uint64_t count, std::byte* data) override {
    origin_.read(sector, count, data);
  }
  void write(std::uint64_t sector, std::uint64_t count, const std::byte* data) override {
    origin_.write(sector, count, data);
  }
  void discard(std::uint64_t sector, std::uint64_t count) override {
    for (std::uint64_t done = 0; done < count; done += longest_discard) {
      progress_();
      origin_.discard(sector + done, std::min(longest_discard, count - done));
    }
  }
  void flush() override { origin_.flush(); }

 private:
  origin_device& origin_;
  pd::progress_function progress_;
};

}  // namespace era::sim
