// SPDX-License-Identifier: GPL-3.0-or-later
// The assumptions and the evidence that replace lost parts of metadata. No loss makes a block's
// last write older than it may be. Metadata without damage has no losses.
#pragma once

#include <cstdint>
#include <vector>

#include "era/metadata/assumed_ranges.h"
#include "era/metadata/stray_blocks.h"
#include "persistent-data/format/le.h"

namespace era {

struct losses {
  // Origin blocks that count as written, each range in an era.
  assumed_ranges ranges;
  // Blocks of bitsets that nothing names: their bits count as written in the current era.
  stray_blocks bits;
  // The newest of the eras in any of these blocks of era arrays counts, too, besides that of the
  // array itself: it is assumed that they were the array's.
  stray_blocks eras;
  // From blocks whose place nothing tells: eras by place in any block of the era array, for the
  // fold of everything only; and the words of bitset blocks, whose bits count as written in the
  // current era. Empty if there are none.
  std::vector<pd::le32> eras_anywhere;
  std::vector<pd::le64> bits_anywhere;
  // By stripe: a block that it needs cannot be used. Empty: not known, it may be any.
  std::vector<bool> in_stripe;
  // The superblock is lost or outdated: a block that is read may be of another place, and its eras
  // too new as well.
  bool may_be_too_new = false;
  // metadata::current_era is assumed, and the true one may be later.
  bool era_is_guess = false;
  // The array has eras that are newer than a writeset's. Digestion would replace them with the
  // older one, so that a copy has no writesets: all are folded into its array.
  bool must_fold = false;
  // The device holds a metadata snapshot, too. It is not part of this metadata.
  bool snapshot = false;
};

}  // namespace era
