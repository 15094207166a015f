// SPDX-License-Identifier: GPL-3.0-or-later
// A backup as a plain image of the source: a file or a block device.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "era/backup/backup_target.h"
#include "persistent-data/io/system_calls.h"

namespace era {

namespace pd = persistent_data;

struct raw_target_options {
  std::uint64_t bytes = 0;  // of the source
  // The target need not hold a backup: a file may be missing, and a longer one is cut.
  bool is_new = false;
  // Called when the target is open and fits, before anything that is there is changed.
  std::function<void()> before_change = [] {};
};

// Opens a target that is written in place. A file gets the size of the source; if it was shorter,
// or the backup is new, it has a mark as well until end_growth() (see growth_mark.h). A block
// device may be larger than the source. A file that is made may be read by its owner alone. Throws
// device_error: what data_device throws; too small a device; no room for the mark; a last sector
// that cannot be read; without is_new, a file that is missing, or too long without its mark.
std::unique_ptr<backup_target> open_raw_target(const std::string& path, const raw_target_options&,
                                               pd::system_calls& = pd::system_calls::real());

}  // namespace era
