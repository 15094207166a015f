// SPDX-License-Identifier: GPL-3.0-or-later
// The block size, the number of origin blocks and the current era, of which a superblock whose
// checksum is right may still say what cannot be.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "era/check/check.h"
#include "era/format/superblock.h"
#include "era/repair/repair_options.h"
#include "era/repair/search.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/io/read_queue.h"

namespace era {

// The rest of the metadata tells this of the current era.
struct era_clues {
  bool is_outdated = false;    // sound blocks contradict the superblock: it may be an older one
  bool has_lost_eras = false;  // a lost part of the writeset tree may have had writesets
  std::uint32_t newest_era =
      0;  // that a metadata snapshot, or a block that nothing leads to, names
};

struct resolved_era {
  era_nr current, least_current;  // least_current: as in metadata
  bool is_outdated = false;       // the superblock, and current may be too old
  bool is_told = false;           // by the user, and later than all that the metadata has
};

// Each function finds the value that a repair goes on with, and reports what had to be assumed.
// Each throws pd::damaged_metadata if the value is lost, or if the user's contradicts what is
// sound.
class superblock_values {
 public:
  // All that is passed must outlive this.
  superblock_values(superblock&, const pd::block_device&, const repair_options&,
                    const repair_report&);

  // Both put the value into the superblock, as if it held it.
  //
  // The user's, that of the superblock, or that of the metadata snapshot, in this order.
  void resolve_block_size(const std::optional<view_summary>& snapshot);

  // The user's, or the longer one of the superblock's and of the era array that the queue reads. If
  // the array is in doubt, a bitset may be longer still.
  void resolve_nr_blocks(pd::read_queue&, bool array_in_doubt);

  // The user's, or that of the superblock, if it is not outdated; else the oldest that the current
  // one may be: an era too new costs time, one too old would lose writes. find_evidence: called if
  // the superblock is outdated. Requires the number of blocks to be resolved, and throws, too, if
  // it may have grown since.
  resolved_era resolve_current_era(const era_clues&,
                                   const std::function<device_evidence()>& find_evidence) const;

 private:
  std::optional<std::uint32_t> length_of_array(pd::read_queue&, bool is_confirmed) const;
  std::uint32_t oldest_possible_era(const device_evidence&) const;
  void require_size(const device_evidence&) const;
  std::uint32_t longest_bitset(pd::read_queue&, std::uint64_t most) const;

  superblock& sb_;
  const pd::block_device& device_;
  const repair_options& given_;
  const repair_report& report_;
};

}  // namespace era
