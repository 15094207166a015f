// SPDX-License-Identifier: GPL-3.0-or-later
// Keeps a device busy with blocks that will be wanted soon, while its user works on those before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "persistent-data/format/block.h"
#include "persistent-data/io/io_engine.h"

namespace persistent_data {

// For one thread. Takes 8 MiB of memory at most. It only makes reading faster: a block that it does
// not have, or could not read, has to be read as without it. find() returns the content that
// prefetch() read. Do not prefetch a block that has to be read again later.
class read_ahead {
 public:
  // Blocks of a list that are read ahead; the others, with the highest numbers, are not.
  static constexpr std::size_t most_blocks = 1024;

  // nr_blocks: the device's size; blocks at or past it are left out.
  read_ahead(std::unique_ptr<io_engine>, std::uint64_t nr_blocks);
  ~read_ahead();

  // Begins to read the blocks, and returns. The last two lists are kept: a third takes the first
  // one's place. Does nothing with an engine that transfers one request at a time.
  void prefetch(std::span<const block_nr> soon);

  // Waits for a block of the lists that are kept. Returns nullptr if it is in none of them or could
  // not be read. The block is valid until the next call of prefetch().
  const block* find(block_nr);

 private:
  struct run;
  struct list;

  void submit();
  void wait();
  void drop(list&);
  const block* find_in(list&, block_nr);

  // Before the engine, whose destructor waits for the requests that still use them.
  std::unique_ptr<list[]> lists_;
  std::unique_ptr<io_engine> engine_;
  const std::uint64_t nr_blocks_;
  std::size_t newest_ = 0, under_way_ = 0;
};

}  // namespace persistent_data
