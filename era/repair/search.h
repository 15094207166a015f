// SPDX-License-Identifier: GPL-3.0-or-later
// Metadata without its superblock: its parts are looked for in every block of the device. Outdated
// versions of them are there as well, and nothing says which is which, so that all are believed
// together: the newest era that any of them has for a block counts.
#pragma once

#include "era/metadata/metadata.h"
#include "era/repair/repair_options.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/io/progress_function.h"

namespace era {

// As salvage_metadata. The caller reports the findings.
metadata search_metadata(const pd::block_device&, const repair_options&, const repair_report&,
                         const pd::progress_function& progress);

// The account of all intact blocks of a device, outdated blocks among them.
struct device_evidence {
  std::uint32_t newest_era = 0;
  std::uint32_t longest_array = 0;  // origin blocks of an era array
  bool has_all_arrays = true;       // false: there are too many to look at each
};

// Reads the whole device.
device_evidence find_evidence(const pd::block_device&, const pd::progress_function& progress);

}  // namespace era
