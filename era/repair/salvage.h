// SPDX-License-Identifier: GPL-3.0-or-later
// Saves what can be saved of damaged metadata. Whatever is lost, contradicts something else or
// cannot be proven counts as written: in the era that it may have been, at the latest.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "era/damage/finding.h"
#include "era/metadata/metadata.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"

namespace era {

// What only the user may know where the superblock is lost, or better than it.
struct repair_options {
  std::optional<std::uint32_t> block_size;  // sectors
  std::optional<std::uint32_t> nr_blocks;   // of the origin
  std::optional<std::uint32_t> current_era;
  source from = source::live;
};

// Who is told what: damage as findings; what was assumed, in words.
struct repair_report {
  finding_sink damage;
  std::function<void(std::string)> assumption;
};

// Reads all metadata. step: called now and then; what it throws ends it. Throws damaged_metadata,
// device_error, device_error. Nothing is ever written. What it returns is for
// loss_policy::assume_written.
metadata salvage_metadata(const pd::block_device&, const repair_options&, const repair_report&,
                          const std::function<void()>& step);

}  // namespace era
