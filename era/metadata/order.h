// SPDX-License-Identifier: GPL-3.0-or-later
// The order of eras: digestion writes the era of a writeset over that of each block it lists, and
// takes writesets in the order of their eras. So no block that a writeset lists may have a newer
// era in the era array: digestion would replace it with the older one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "era/metadata/stripe.h"

namespace era {

// A block of a bitset lists origin blocks that have a newer era in the era array.
struct out_of_order {
  place where;  // the writeset
  pd::block_nr block;
  std::uint64_t count = 0;  // of such origin blocks
  origin_block first;       // of them
  era_nr newer;             // the era of that one in the era array
};

// "blocks that it lists have a newer era in the era array (2 of them); the first is ..."
std::string in_words(const out_of_order&);

// Compares the stripes in which the array has a newer era than some writeset, in parallel, and
// calls use for each bitset block, in the order of stripes, eras and blocks. newest: the newest era
// in the array of each stripe, none past the current one. The policy says what becomes of a block
// that cannot be used: a finding, or what is assumed of it, or nothing.
void find_out_of_order(const metadata&, const pd::block_device&, loss_policy,
                       const std::vector<era_nr>& newest,
                       const std::function<void(const out_of_order&)>& use, const finding_sink&);

}  // namespace era
