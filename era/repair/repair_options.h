// SPDX-License-Identifier: GPL-3.0-or-later
// What the user tells a repair, and what a repair tells the user.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "era/damage/finding.h"
#include "era/metadata/metadata.h"

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

}  // namespace era
