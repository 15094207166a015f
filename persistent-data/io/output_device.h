// SPDX-License-Identifier: GPL-3.0-or-later
// The device that metadata is written to: an existing regular file, or a block device.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "persistent-data/format/block.h"
#include "persistent-data/io/block_store.h"
#include "persistent-data/io/io_engine.h"
#include "persistent-data/io/opened_storage.h"
#include "persistent-data/io/write_queue.h"

namespace persistent_data {

class output_device {
 public:
  // wanted_blocks: a good size, for messages that say how to make such a file. Throws device_error:
  // as opened_storage, or smaller than a block.
  output_device(const std::string& path, std::uint64_t wanted_blocks,
                engine_choice = engine_choice::automatic, system_calls& = system_calls::real());
  output_device(const output_device&) = delete;
  output_device& operator=(const output_device&) = delete;

  const std::string& path() const noexcept { return opened_.path(); }
  std::uint64_t nr_blocks() const noexcept { return nr_blocks_; }
  bool is_block_device() const noexcept { return opened_.is_block_device(); }

  // A queue with an engine of its own; it must not outlive the device.
  std::unique_ptr<write_queue> make_queue() const;
  // For transactions: reads and writes single blocks; it must not outlive the device.
  std::unique_ptr<block_store> make_store() const;

 private:
  opened_storage opened_;
  engine_choice engine_;
  system_calls& calls_;  // of queues and stores
  std::uint64_t nr_blocks_;
};

// The words for a file or device that has to be so large: a command to make a file of that size, in
// a unit that is easily read.
std::string how_to_enlarge(const std::string& path, bool is_block_device, std::uint64_t nr_blocks);

}  // namespace persistent_data
