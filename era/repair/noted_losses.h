// SPDX-License-Identifier: GPL-3.0-or-later
// Collects the losses that findings of a salvage may hide: eras of the writeset tree, sizes of
// writesets, origin blocks.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <vector>

#include "era/damage/finding.h"
#include "era/metadata/metadata.h"

namespace era {

// Keys of the writeset tree have 64 bits, and eras 32.
inline constexpr std::uint64_t last_era_of_a_key = std::numeric_limits<std::uint32_t>::max();
inline constexpr pd::range every_era{0, last_era_of_a_key + 1};

class noted_losses {
 public:
  explicit noted_losses(std::uint32_t nr_origin_blocks = 0);

  // In any order. Those of superblock, space map and reference counts hide nothing here.
  void note(const finding&);

  // To be called when all is noted, before is_size_in_doubt().
  void sort();
  // Is the number of bits that the writeset tells confirmed by nothing? It may be too small then.
  bool is_size_in_doubt(const writeset&) const;

  std::vector<pd::range> eras;             // whose writesets the writeset tree may have lost
  std::vector<bool> in_stripe;             // as losses::in_stripe
  std::vector<pd::range> blocks_of_array;  // origin blocks whose era the era array has lost

 private:
  void note_blocks(pd::range blocks);

  std::uint32_t nr_origin_blocks_;
  std::deque<std::uint32_t> sizes_in_doubt_;  // of the archived writesets of these eras
  bool current_size_in_doubt_ = false;
};

}  // namespace era
