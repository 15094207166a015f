// SPDX-License-Identifier: GPL-3.0-or-later
// The check maps the metadata that it looks at, so that each tree is walked once.
#include "era/check/sound_metadata.h"

#include <utility>

#include "era/check/check.h"

namespace era {

bool affects_lists(const finding& f) noexcept {
  return f.fatal() && (f.where.what != part::space_map || is_contradiction(f));
}

std::optional<metadata> map_sound_metadata(const pd::block_device& device, source from,
                                           const finding_sink& sink) {
  bool damaged = false;
  check_summary checked =
      check_metadata(device, {.from = from, .content = false, .maps = true}, [&](finding f) {
        if (!affects_lists(f)) return;
        damaged = true;
        sink(std::move(f));
      });
  if (damaged) return {};
  return std::move(checked.mapped);
}

}  // namespace era
