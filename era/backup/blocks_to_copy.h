// SPDX-License-Identifier: GPL-3.0-or-later
// The blocks that a backup copies, run by run in ascending order.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "era/format/units.h"
#include "era/metadata/block_set.h"

namespace era {

// For one thread; borrows the set.
class blocks_to_copy {
 public:
  // also: blocks besides the changed ones, in any order; they may overlap each other and the set.
  blocks_to_copy(const block_set& changed, std::vector<origin_range> also);

  // The next run, as long as it goes; none touches the one before. Returns nullopt after the last.
  std::optional<origin_range> next();

  // next() begins again.
  void rewind();

 private:
  std::optional<origin_range> next_changed();

  const block_set& changed_;
  std::uint64_t nr_stripes_ = 0;
  std::vector<origin_range> also_;  // ascending, none touches another
  // Where next() is:
  std::uint64_t stripe_ = 0;
  std::vector<origin_range> buffer_;
  std::span<const origin_range> runs_;      // of the stripe before stripe_, not yet used
  std::optional<origin_range> in_changed_;  // the next run of the set
  std::size_t in_also_ = 0;
};

// Sorts ranges, and joins those that overlap or touch.
std::vector<origin_range> joined(std::vector<origin_range>);

}  // namespace era
