// SPDX-License-Identifier: GPL-3.0-or-later
// An output that is never taken for metadata while it is incomplete: its superblock is zeros from
// before the first block is written until all others are on the device.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "era/format/superblock.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/io/write_queue.h"

namespace era {

struct output_target {
  std::string name;  // for messages
  bool is_block_device = false;
  std::uint64_t nr_blocks = 0;
  std::function<std::unique_ptr<pd::write_queue>()> make_queue;
  // Opens it a second time, to read what was there, or was written and flushed. Throws
  // device_error.
  std::function<std::unique_ptr<pd::block_device>()> open_for_reading = {};
};

// The state of the output after a failure.
enum class output_state {
  as_before,        // block 0 is what it was, and nothing else was written
  perhaps_wiped,    // what was there before, or the same without its superblock
  unformatted,      // zeros for a superblock: to the tools and to the kernel it is not formatted
  perhaps_complete  // zeros for a superblock, or the whole new metadata: nobody knows
};

class atomic_metadata_output {
 public:
  explicit atomic_metadata_output(output_target);

  // In this order; each throws device_error. queue() is for all blocks except the superblock.
  void wipe();
  pd::write_queue& queue() noexcept { return *queue_; }
  // Prepares the superblock for writing, and writes it when all else is on the device.
  void finish(pd::block& superblock);

  // After a failure, instead of all else. Writes only if that keeps the output from being taken for
  // metadata.
  output_state abandon() noexcept;

 private:
  enum class stage { untouched, wiping, wiped, finishing };

  void write_superblock(const pd::block&);
  bool read_first_block(pd::block&) const;

  output_target target_;
  std::unique_ptr<pd::write_queue> queue_;
  stage stage_ = stage::untouched;
  std::unique_ptr<pd::block> before_;  // block 0 before it was wiped, if it could be read
};

}  // namespace era
