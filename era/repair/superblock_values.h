// SPDX-License-Identifier: GPL-3.0-or-later
// The block size and the number of origin blocks, of which a superblock whose checksum is right may
// still say what cannot be.
#pragma once

#include <optional>

#include "era/check/check.h"
#include "era/format/superblock.h"
#include "era/repair/repair_options.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/io/read_queue.h"

namespace era {

// Each function puts the value that a repair goes on with into the superblock, as if it had said
// it, and reports what had to be assumed. Each throws pd::damaged_metadata if the value is lost, or
// if the user's contradicts what is sound.
class superblock_values {
 public:
  // All that is passed must outlive this.
  superblock_values(superblock&, const pd::block_device&, const repair_options&,
                    const repair_report&);

  // The user's, that of the superblock, or that of the metadata snapshot, in this order.
  void resolve_block_size(const std::optional<view_summary>& snapshot);

  // The user's, or the longer one of the superblock's and of the era array that the queue reads. If
  // the array is in doubt, a bitset may be longer still.
  void resolve_nr_blocks(pd::read_queue&, bool array_in_doubt);

 private:
  std::uint32_t longest_bitset(pd::read_queue&, std::uint64_t most) const;

  superblock& sb_;
  const pd::block_device& device_;
  const repair_options& given_;
  const repair_report& report_;
};

}  // namespace era
