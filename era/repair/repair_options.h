// SPDX-License-Identifier: GPL-3.0-or-later
// The options that the user gives a repair, and the report that a repair gives the user.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "era/damage/finding.h"
#include "era/metadata/metadata.h"

namespace era {

// Values that the user gives if the superblock is lost or wrong.
struct repair_options {
  // Where the user finds nr_blocks, for messages.
  static constexpr const char* about_nr_blocks = "its length divided by the block size, rounded up";

  std::optional<std::uint32_t> block_size;  // sectors
  std::optional<std::uint32_t> nr_blocks;   // of the origin
  std::optional<std::uint32_t> current_era;
  source from = source::live;
};

// The report: damage as findings, and assumptions in words.
struct repair_report {
  finding_sink damage;
  std::function<void(std::string)> assumption;
};

}  // namespace era
