// SPDX-License-Identifier: GPL-3.0-or-later
// See doubts.h.
#include "era/invalidate/doubts.h"

namespace era {

namespace {

// Is it the content of sound blocks that cannot be?
bool is_contradiction(pd::fault what) {
  switch (what) {
    case pd::fault::bad_shape:
    case pd::fault::cross_linked:
    case pd::fault::bad_value:
    case pd::fault::count_too_low: return true;
    default: return false;
  }
}

}  // namespace

pd::range doubted_blocks(const finding& f, const era_window& window, std::uint32_t nr_blocks) {
  const pd::range all{0, nr_blocks};
  if (!f.fatal() || f.where.what == part::space_map) return {};
  if (is_contradiction(f.what.what)) return all;
  switch (f.where.what) {
    case part::era_array: return pd::intersection(f.hidden, all);
    case part::writeset:
    case part::current_writeset: {
      const bool asked = window.begin <= f.where.era.value && f.where.era.value < window.end;
      return asked ? pd::intersection(f.hidden, all) : pd::range{};
    }
    // A writeset that is not known may have had any block.
    case part::writeset_tree: return pd::intersection(f.hidden, window).empty() ? pd::range{} : all;
    default: return all;
  }
}

bool is_size_doubtful(const finding& f) {
  return f.where.what == part::superblock ||
         (f.where.what == part::era_array && f.what.what == pd::fault::bad_shape);
}

void doubts::add(pd::range blocks) {
  if (!blocks.empty()) ranges_.push_back(blocks);
}

void doubts::settle() {
  std::sort(ranges_.begin(), ranges_.end(),
            [](const pd::range& a, const pd::range& b) { return a.begin < b.begin; });
  std::vector<pd::range> merged;
  for (const pd::range& r : ranges_)
    if (!merged.empty() && r.begin <= merged.back().end)
      merged.back().end = std::max(merged.back().end, r.end);
    else
      merged.push_back(r);
  ranges_ = std::move(merged);
}

}  // namespace era
