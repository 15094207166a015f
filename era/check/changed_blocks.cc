// SPDX-License-Identifier: GPL-3.0-or-later
// The check maps the metadata that is listed, so that each tree is walked once.
#include "era/check/changed_blocks.h"

#include <utility>

#include "era/check/check.h"

namespace era {

changed_blocks::changed_blocks(const pd::block_device& device, source from, finding_sink sink)
    : device_(device), sink_(std::move(sink)) {
  check_summary checked = check_metadata(device, {.from = from, .content = false, .maps = true},
                                         [this](finding f) { note(std::move(f)); });
  if (!damaged_) metadata_ = std::move(checked.mapped);
}

void changed_blocks::note(finding f) {
  // Leaked blocks, or damage to the space map: no pointer leads to what is wrong.
  if (!f.fatal() || f.where.what == part::space_map) return;
  damaged_ = true;
  sink_(std::move(f));
}

std::optional<listed_blocks> changed_blocks::list(const era_window& window) {
  if (damaged_ || !metadata_) return {};
  listed_blocks listed = list_blocks(*metadata_, device_, window, loss_policy::refuse,
                                     [this](finding f) { note(std::move(f)); });
  if (damaged_) return {};
  return listed;
}

}  // namespace era
