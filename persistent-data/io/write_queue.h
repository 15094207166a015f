// SPDX-License-Identifier: GPL-3.0-or-later
// Writes blocks that come in ascending order in large runs, some of them under way at once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "persistent-data/format/block.h"
#include "persistent-data/io/io_engine.h"

namespace persistent_data {

// For one thread. Takes (depth() + 1) MiB for its buffers.
class write_queue {
 public:
  // flush: makes durable what was written, returns 0 or an errno. name: of the device, for
  // messages.
  write_queue(std::unique_ptr<io_engine>, std::function<int()> flush, std::string name);
  // Blocks that were not drained may or may not be written.
  ~write_queue();

  // Blocks next to each other leave together; the block is copied. Throws device_error when this or
  // an earlier write failed, and from then on always: what was to be written then is not all there.
  void write(block_nr, const block&);

  // Everything written so far is on the device, and durable. Throws device_error, as write() does.
  void drain_and_flush();

 private:
  struct run {
    block_nr first;
    std::size_t blocks = 0;
    std::size_t done = 0;  // bytes that are written
  };

  void send();
  void wait();
  void submit(std::size_t slot);
  [[noreturn]] void fail(std::string why);
  void require_no_failure() const;
  block* buffer(std::size_t slot) const noexcept;

  // Before the engine, whose destructor waits for the requests that still use them.
  std::unique_ptr<block[]> buffers_;
  std::unique_ptr<io_engine> engine_;
  std::function<int()> flush_;
  std::string name_, failure_;
  std::vector<run> runs_;  // by slot
  std::vector<std::size_t> free_slots_;
  std::size_t filling_;  // the slot that takes blocks
};

}  // namespace persistent_data
