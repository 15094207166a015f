// SPDX-License-Identifier: GPL-3.0-or-later
// What damage leaves unknown, as origin blocks that may have been written in certain eras: the
// other half of an answer that must not miss a write.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "era/view/finding.h"
#include "era/view/metadata.h"

namespace era {

// Eras [begin, end) that are asked for.
using era_window = pd::range;

// The origin blocks that a finding puts in doubt for the window. A block that cannot be read, or is
// another's, hides what it covers; in a writeset it does so for one era. Blocks that contradict
// each other with all checksums right are worse: which of them is wrong is unknown, and so all
// origin blocks are in doubt. Damage to the space map's own blocks is not about origin blocks.
// nr_blocks: of the origin.
pd::range doubted_blocks(const finding&, const era_window&, std::uint32_t nr_blocks);

// Does it make even the number of origin blocks doubtful? Then there is no list that can be
// trusted.
bool is_size_doubtful(const finding&);

// Ranges of blocks, merged and in order, that can be asked stripe by stripe.
class doubts {
 public:
  void add(pd::range blocks);
  // After all have been added: sorts and merges them.
  void settle();
  // Calls take(range) for each part of the range that is in doubt.
  template <class Take>
  void within(pd::range blocks, Take take) const;

 private:
  std::vector<pd::range> ranges_;
};

template <class Take>
void doubts::within(pd::range blocks, Take take) const {
  auto at = std::lower_bound(ranges_.begin(), ranges_.end(), blocks.begin,
                             [](const pd::range& r, auto begin) { return r.end <= begin; });
  for (; at != ranges_.end() && at->begin < blocks.end; ++at) take(pd::intersection(*at, blocks));
}

}  // namespace era
