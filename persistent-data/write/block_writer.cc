// SPDX-License-Identifier: GPL-3.0-or-later
// Prepares each block for the next free place and hands it to the write queue.
#include "persistent-data/write/block_writer.h"

#include <algorithm>

namespace persistent_data {

block_writer::block_writer(write_queue& queue, std::uint64_t nr_blocks)
    : queue_(queue), nr_blocks_(std::min(nr_blocks, max_metadata_blocks)) {}

block_nr block_writer::append(const block_kind& kind, block& b) {
  if (next_ >= nr_blocks_)
    throw no_space(fmt::format("all of its {} metadata blocks are full", nr_blocks_));
  const block_nr where{next_++};
  prepare_for_write(kind, b, where);
  queue_.write(where, b);
  return where;
}

}  // namespace persistent_data
