// SPDX-License-Identifier: GPL-3.0-or-later
// Writesets that the live metadata has lost hold of: they are in blocks that the space map counts
// and that nothing leads to.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "era/repair/block_scan.h"
#include "persistent-data/io/progress_function.h"
#include "persistent-data/read/array_map.h"

namespace era {

struct unreachable_writeset {
  std::uint64_t era = 0;  // as its leaf says
  pd::array_map bits;
};

struct unreachable_metadata {
  std::vector<unreachable_writeset> writesets;  // those whose leaf of the writeset tree is there
  stray_blocks bits;                            // of others, whose era is unknown
  bool explained = false;  // each of the blocks is intact, and what it was for is known
  std::vector<pd::le64> bits_anywhere;  // by word: of bitset blocks whose place nothing tells
  std::vector<bool> lost_stripes;       // by stripe: a leaf leads to a broken block
  // Intact blocks say what cannot be: something was written, and nobody knows where.
  bool has_evidence = false;
  std::uint32_t newest_era = 0;  // that any of the blocks names
  bool too_many = false;         // more than sound metadata can have: the rest is left out
};

// unreached: counted blocks that the live metadata does not reach.
unreachable_metadata find_unreachable(const pd::block_device&, std::uint32_t nr_origin_blocks,
                                      std::span<const pd::block_nr> unreached,
                                      const pd::progress_function& progress);

}  // namespace era
