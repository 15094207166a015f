// SPDX-License-Identifier: GPL-3.0-or-later
// Gives out the blocks of a device one after the other, and writes what is put into them:
// everything that is built is built once and never changed.
#pragma once

#include <cstdint>
#include <functional>

#include "persistent-data/format/block.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/write_queue.h"

namespace persistent_data {

class block_writer {
 public:
  // Blocks [1, nr_blocks) are given out: block 0 is the superblock's, which is written last.
  block_writer(write_queue&, std::uint64_t nr_blocks);

  // Prepares the block for the next place, writes it there and returns the place. Throws no_space
  // and device_error.
  block_nr append(const block_kind&, block&);

  // Blocks in use, the superblock with them.
  std::uint64_t nr_used() const noexcept { return next_; }
  std::uint64_t nr_blocks() const noexcept { return nr_blocks_; }

 private:
  write_queue& queue_;
  std::uint64_t nr_blocks_;
  std::uint64_t next_ = 1;
};

}  // namespace persistent_data
