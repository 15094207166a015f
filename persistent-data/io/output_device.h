// SPDX-License-Identifier: GPL-3.0-or-later
// The device that metadata is written to: an existing regular file, or a block device.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "persistent-data/format/block.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/io/block_store.h"
#include "persistent-data/io/write_queue.h"

namespace persistent_data {

class output_device {
 public:
  // Throws device_error: not there, not writable, neither a file nor a block device, in use (see
  // in_use.h), smaller than a block. Others are kept away: a block device is opened with O_EXCL,
  // and claim_for_writing takes locks. wanted_blocks: a good size, for messages that say how to
  // make such a file.
  output_device(std::string path, std::uint64_t wanted_blocks,
                engine_choice = engine_choice::automatic, system_calls& = system_calls::real());
  ~output_device();
  output_device(const output_device&) = delete;
  output_device& operator=(const output_device&) = delete;

  const std::string& path() const noexcept { return path_; }
  std::uint64_t nr_blocks() const noexcept { return nr_blocks_; }
  bool is_block_device() const noexcept { return is_block_device_; }

  // A queue with an engine of its own; it must not outlive the device.
  std::unique_ptr<write_queue> make_queue() const;
  // For transactions: reads and writes single blocks; it must not outlive the device.
  std::unique_ptr<block_store> make_store() const;

 private:
  void open();
  void measure();
  [[noreturn]] void fail(const std::string& why) const;

  std::string path_;
  std::uint64_t wanted_blocks_;
  engine_choice engine_;
  system_calls& calls_;  // of queues and stores
  int fd_ = -1;
  bool is_block_device_ = false;
  std::uint64_t nr_blocks_ = 0;
};

// The words for a file or device that has to be so large: a command to make a file of that size, in
// a unit that is easily read.
std::string how_to_enlarge(const std::string& path, bool is_block_device, std::uint64_t nr_blocks);

}  // namespace persistent_data
