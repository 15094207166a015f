// SPDX-License-Identifier: GPL-3.0-or-later
// The newest era of blocks of era arrays, and how many eras they have. The arrays that a device has
// had since it was made share most of their blocks: each block is read once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "era/repair/block_scan.h"
#include "persistent-data/io/read_queue.h"

namespace era {

struct era_summary {
  std::uint32_t newest = 0;
  std::uint64_t written = 0;  // origin blocks that have an era
};

class era_summaries {
 public:
  // Borrows both; the scan is complete. Memory: 6 bytes for each block of an era array that was
  // scanned.
  era_summaries(const block_scan&, pd::read_queue&);

  // Returns that of all these blocks together. Blocks that cannot be read, or are not of an era
  // array, add nothing.
  era_summary of(std::span<const pd::block_nr>);

 private:
  static constexpr std::uint64_t blocks_per_count = 64;
  static constexpr std::uint16_t unknown = 0xffff;  // more than a block has

  std::uint64_t index_of(pd::block_nr) const;
  void add(std::span<const pd::block_nr>, era_summary&);
  void read(std::span<const pd::block_nr>);

  const block_scan& scan_;
  pd::read_queue& queue_;
  // Blocks of era arrays before each run of blocks_per_count.
  std::vector<std::uint32_t> before_;
  // By the order of the blocks on the device.
  std::vector<std::uint32_t> newest_;
  std::vector<std::uint16_t> written_;
};

}  // namespace era
