// SPDX-License-Identifier: GPL-3.0-or-later
// Tells whether metadata continues the history that an earlier backup saw.
//
// Metadata that was made anew, or another device's, may have reached any era. But a block's era
// either stays as it was, or becomes one of those that began after it was noted. So a backup notes
// the eras of some blocks, and the next one compares them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "era/metadata/metadata.h"
#include "persistent-data/io/block_device.h"

namespace era {

inline constexpr std::size_t max_witnesses = 4096;

struct witness {
  std::uint32_t block;
  std::uint32_t era;  // in which it was last written

  friend bool operator==(const witness&, const witness&) = default;
};

// Chooses witnesses, by ascending block: up to half of them spread over the device, the others over
// the eras. Equal seeds choose equally. Blocks whose era is not known for sure are left out. Folds
// all stripes, with nr_workers() threads. Throws device_error if a metadata snapshot was dropped
// meanwhile.
std::vector<witness> choose_witnesses(const metadata&, const pd::block_device&, std::uint64_t seed,
                                      std::size_t most = max_witnesses);

struct contradiction {
  witness noted;
  std::uint32_t now;  // the era of the block
};

// Returns a witness that contradicts the metadata, if there is one: its era has changed, and not to
// `later` or a newer one. later: no block can have been written in an older era since the witnesses
// were chosen. Requires witnesses in ascending order of their blocks; those past the end of
// the device are left out. Folds the stripes that have witnesses. Throws as choose_witnesses.
std::optional<contradiction> find_contradiction(const std::vector<witness>&, era_nr later,
                                                const metadata&, const pd::block_device&);

}  // namespace era
