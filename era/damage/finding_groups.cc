// SPDX-License-Identifier: GPL-3.0-or-later
// Holds the last finding back. A finding that says the same of the next metadata blocks extends it;
// any other one prints it first.
#include "era/damage/finding_groups.h"

#include <utility>

namespace era {
namespace {

// Neither hides anything, or both together hide one range.
bool continues(const pd::range& a, const pd::range& b) {
  return (a.empty() && b.empty()) || (!a.empty() && !b.empty() && a.end == b.begin);
}

bool is_continued(const finding& a, const finding& b) {
  return a.where == b.where && a.blocks.end == b.blocks.begin && continues(a.hidden, b.hidden) &&
         a.error.type == b.error.type && a.error.text == b.error.text;
}

}  // namespace

void finding_groups::add(finding f) {
  if (pending_ && is_continued(*pending_, f)) {
    pending_->blocks.end = f.blocks.end;
    pending_->hidden.end = f.hidden.end;
    return;
  }
  flush();
  pending_ = std::move(f);
}

void finding_groups::flush() {
  if (pending_) out_(*std::exchange(pending_, std::nullopt));
}

}  // namespace era
