// SPDX-License-Identifier: GPL-3.0-or-later
// The order of eras: digestion writes the era of a writeset over that of each block it lists, and
// takes writesets in the order of their eras. So no block that a writeset lists may have a newer
// era in the era array: digestion would replace it with the older one.
#pragma once

#include <cstdint>
#include <functional>
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

// Compares the stripes in which the array has a newer era than some writeset, in parallel, and
// calls use for each bitset block, in the order of stripes, eras and blocks. newest: of each
// stripe, the newest era in the array, none past the current one. Of lost blocks, what is assumed
// counts if the policy is to assume it; else they are passed over.
void find_out_of_order(const metadata&, const pd::block_device&, loss_policy,
                       const std::vector<era_nr>& newest,
                       const std::function<void(const out_of_order&)>& use);

}  // namespace era
