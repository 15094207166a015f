// SPDX-License-Identifier: GPL-3.0-or-later
// A bit for each block says whether the current view has reached it, and another whether an earlier
// view has. References that come from a block of an earlier view are not counted again.
#include "persistent-data/read/reference_counter.h"

#include <algorithm>
#include <cassert>
#include <limits>

namespace persistent_data {

reference_counter::reference_counter(std::uint64_t nr_blocks, counting count)
    : nr_blocks_(std::min(nr_blocks, max_metadata_blocks)),
      reached_(nr_blocks_),
      reached_before_(nr_blocks_),
      again_(nr_blocks_),
      excluded_(nr_blocks_),
      references_(count == counting::yes ? nr_blocks_ : 0),
      forgets_(count == counting::no_but_forgets) {
  if (!references_.empty()) references_[0] = 1;
}

reach_result reference_counter::reach(std::optional<block_nr> from, block_nr to) {
  if (to.value == 0 || to.value >= nr_blocks_) return reach_result::outside;
  const bool shared = from && reached_before_[from->value];
  if (!references_.empty() && !shared &&
      references_[to.value] < std::numeric_limits<std::uint32_t>::max())
    ++references_[to.value];
  if (excluded_[to.value]) return reach_result::excluded;
  if (reached_[to.value]) {
    again_[to.value] = true;
    return reach_result::again;
  }
  reached_[to.value] = true;
  if (forgets_) to_forget_.push_back(static_cast<std::uint32_t>(to.value));
  return reach_result::first;
}

void reference_counter::forget() {
  assert(forgets_ && first_view_.empty());
  for (const std::uint32_t b : to_forget_) reached_[b] = again_[b] = false;
  to_forget_.clear();
}

void reference_counter::next_view() {
  if (first_view_.empty()) first_view_ = reached_;
  for (std::size_t i = 0; i < reached_.size(); ++i)
    if (reached_[i]) reached_before_[i] = true;
  reached_.assign(reached_.size(), false);
}

bool reference_counter::in_first_view(block_nr where) const {
  return first_view_.empty() ? reached_[where.value] : first_view_[where.value];
}

std::uint32_t reference_counter::references(block_nr where) const {
  assert(where.value < references_.size());
  return references_[where.value];
}

}  // namespace persistent_data
