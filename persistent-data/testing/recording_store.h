// SPDX-License-Identifier: GPL-3.0-or-later
// For tests: a block store over a scratch device that records what is written and flushed, and
// fails when it is told to.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/io/block_store.h"
#include "persistent-data/testing/scratch_device.h"

namespace persistent_data::test {

class recording_store final : public block_store {
 public:
  explicit recording_store(scratch_device& disk) : disk_(disk) {}

  // A flush has no content. A write that failed may have left anything on the device; a flush that
  // failed may have lost any of the writes before it, for good.
  struct event {
    block_nr where;
    std::shared_ptr<const block> content;
    bool has_failed = false;
    std::uint64_t operation = 0;  // its number
  };
  bool records = false;
  std::vector<event> recorded;

  // Reads, writes and flushes are counted from 1: this one fails, and later ones too if that is
  // set.
  std::uint64_t failing_operation = 0;
  bool fails_for_good = false;
  std::uint64_t operations = 0;
  // Called before each of them.
  std::function<void()> watch = [] {};

  const std::string& name() const noexcept override { return name_; }
  std::uint64_t nr_blocks() const noexcept override { return disk_.nr_blocks(); }
  void read(block_nr where, block& b) override {
    if (fails()) fail("read");
    b = disk_[where];
  }
  void write(block_nr where, const block& b) override {
    const bool has_failed = fails();
    if (records)
      recorded.push_back({where, std::make_shared<const block>(b), has_failed, operations});
    if (has_failed) fail("written");
    disk_[where] = b;
  }
  void flush() override {
    const bool has_failed = fails();
    if (records) recorded.push_back({{}, nullptr, has_failed, operations});
    if (has_failed) fail("flushed");
  }

 private:
  bool fails() {
    watch();
    ++operations;
    return failing_operation != 0 &&
           (fails_for_good ? operations >= failing_operation : operations == failing_operation);
  }
  [[noreturn]] static void fail(const char* what) {
    throw device_error(fmt::format("store: cannot be {}: Input/output error", what));
  }

  scratch_device& disk_;
  std::string name_ = "store";
};

}  // namespace persistent_data::test
