// SPDX-License-Identifier: GPL-3.0-or-later
// Sound metadata first, then what its arrays hold.
#include "era/check/change_lister.h"

#include <utility>

#include "era/check/sound_metadata.h"

namespace era {

change_lister::change_lister(const pd::block_device& device, source from, finding_sink sink)
    : device_(device), sink_(std::move(sink)), metadata_(map_sound_metadata(device, from, sink_)) {}

std::optional<change_list> change_lister::list(const era_window& window) {
  if (!metadata_) return {};
  bool damaged = false;
  change_list listed =
      list_blocks(*metadata_, device_, window, loss_policy::refuse, [&](finding f) {
        damaged = true;
        sink_(std::move(f));
      });
  if (!damaged) return listed;
  metadata_.reset();
  return {};
}

}  // namespace era
