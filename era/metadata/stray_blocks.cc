// SPDX-License-Identifier: GPL-3.0-or-later
// A sorted list. It is sorted now and then while it grows, to be rid of what is in it twice.
#include "era/metadata/stray_blocks.h"

#include <algorithm>

namespace era {

bool stray_blocks::add(std::uint64_t index, pd::block_nr where) {
  if (entries_.size() == most) resolve();
  if (entries_.size() == most || index >= max_origin_blocks) return false;
  entries_.push_back({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(where.value)});
  // Neighbouring versions of a leaf name the same blocks: sorted out before they take memory.
  if (entries_.size() >= 2 * resolved_ + (1 << 16)) resolve();
  return true;
}

void stray_blocks::resolve() {
  std::sort(entries_.begin(), entries_.end());
  entries_.erase(std::unique(entries_.begin(), entries_.end()), entries_.end());
  resolved_ = entries_.size();
}

std::span<const stray_blocks::entry> stray_blocks::of(pd::range indices) const noexcept {
  const auto at = [&](std::uint64_t index) {
    return std::lower_bound(entries_.begin(), entries_.end(), index,
                            [](const entry& e, auto i) { return e.index < i; });
  };
  return {at(indices.begin), at(indices.end)};
}

bool stray_blocks::contains(std::uint64_t index, pd::block_nr where) const noexcept {
  return index < max_origin_blocks &&
         std::binary_search(
             entries_.begin(), entries_.end(),
             entry{static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(where.value)});
}

void stray_blocks::erase_blocks(const std::function<bool(pd::block_nr)>& which) {
  std::erase_if(entries_, [&](const entry& e) { return which({e.block}); });
}

}  // namespace era
