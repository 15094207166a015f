// SPDX-License-Identifier: GPL-3.0-or-later
// Reads many blocks in large pieces: block numbers in, blocks out as they arrive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "persistent-data/format/block.h"
#include "persistent-data/io/io_engine.h"
#include "persistent-data/io/read_ahead.h"

namespace persistent_data {

// For one thread. Takes (depth() + 1) * 128 KiB for its buffers, and what a read_ahead takes.
class read_queue {
 public:
  // nr_blocks: the device's size. A block at or past it arrives as an error. ahead: an engine of
  // the same device for prefetch(), which does nothing without one.
  read_queue(std::unique_ptr<io_engine>, std::uint64_t nr_blocks,
             std::unique_ptr<io_engine> ahead = nullptr);
  ~read_queue();

  // index: of the block in the list of wanted ones. data: nullptr if the block could not be read,
  // and then error is the errno (ENODATA if the device ended early). data is valid during the call.
  using arrival = std::function<void(std::size_t index, const block* data, int error)>;

  // Reads each wanted block once for each time it is named, and returns when all have arrived. The
  // order of arrival is the device's, not the caller's. An unreadable block does not take its
  // neighbours with it. An exception of arrival ends the read and comes out here; after that the
  // queue can only be destroyed.
  void read(std::span<const block_nr> wanted, const arrival&);

  // Begins to read blocks that read() is going to be asked for, in one call or in several; see
  // read_ahead. Without it read() delivers the same.
  void prefetch(std::span<const block_nr> soon);

 private:
  struct run;

  void take_prefetched(const arrival&);
  void start(std::size_t slot, run);
  void finish(std::size_t slot, std::int64_t result, const arrival&);
  void read_singly(const run&, const arrival&);
  // Returns 0 or an errno.
  int read_block(block_nr, block*);
  block* buffer(std::size_t slot) const noexcept;

  // Before the engine, whose destructor waits for the requests that still use them.
  std::unique_ptr<block[]> buffers_;
  std::unique_ptr<io_engine> engine_;
  std::uint64_t nr_blocks_;
  std::optional<read_ahead> ahead_;
  std::vector<std::size_t> order_;  // of the wanted blocks that have not arrived, by block number
  std::vector<run> under_way_;      // by slot
  std::vector<std::size_t> free_slots_;
  std::span<const block_nr> wanted_;
};

}  // namespace persistent_data
