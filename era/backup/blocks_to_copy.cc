// SPDX-License-Identifier: GPL-3.0-or-later
// Merges two ascending lists of runs.
#include "era/backup/blocks_to_copy.h"

#include <algorithm>
#include <utility>

namespace era {

std::vector<origin_range> joined(std::vector<origin_range> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const origin_range& a, const origin_range& b) { return a.begin < b.begin; });
  std::vector<origin_range> result;
  for (const origin_range& r : ranges) {
    if (r.begin >= r.end) continue;
    if (result.empty() || r.begin > result.back().end)
      result.push_back(r);
    else
      result.back().end = std::max(result.back().end, r.end);
  }
  return result;
}

blocks_to_copy::blocks_to_copy(const block_set& changed, std::vector<origin_range> also)
    : changed_(changed), also_(joined(std::move(also))) {
  for (const pd::range& stripes : changed.print_ranges()) nr_stripes_ = stripes.end;
  rewind();
}

void blocks_to_copy::rewind() {
  stripe_ = 0;
  runs_ = {};
  in_also_ = 0;
  in_changed_ = next_changed();
}

std::optional<origin_range> blocks_to_copy::next_changed() {
  while (runs_.empty()) {
    if (stripe_ == nr_stripes_) return {};
    runs_ = changed_.runs(stripe_++, buffer_);
  }
  const origin_range first = runs_.front();
  runs_ = runs_.subspan(1);
  return first;
}

std::optional<origin_range> blocks_to_copy::next() {
  std::optional<origin_range> run;
  const auto take = [&](const origin_range& r) {
    if (run && r.begin > run->end) return false;
    run = run ? origin_range{run->begin, std::max(run->end, r.end)} : r;
    return true;
  };
  for (;;) {
    const bool also_is_next =
        in_also_ < also_.size() && (!in_changed_ || also_[in_also_].begin < in_changed_->begin);
    if (also_is_next) {
      if (!take(also_[in_also_])) return run;
      ++in_also_;
    } else {
      if (!in_changed_ || !take(*in_changed_)) return run;
      in_changed_ = next_changed();
    }
  }
}

}  // namespace era
