// SPDX-License-Identifier: GPL-3.0-or-later
// The whole of era_check but its words: looks at everything that metadata is made of.
#pragma once

#include <cstdint>
#include <optional>

#include "era/format/superblock.h"
#include "era/view/finding.h"
#include "era/view/metadata.h"
#include "persistent-data/io/block_device.h"

namespace era {

struct check_scope {
  source from = source::live;  // snapshot: only what the metadata snapshot reaches
  bool superblock_only = false;
  bool content = true;  // what the arrays hold; without it only superblock, trees and space map
};

// What was looked at in a view.
struct view_summary {
  superblock sb{};
  pd::block_nr location;
  std::uint64_t archived_writesets = 0;
  std::uint64_t array_blocks = 0;   // of the era array
  std::uint64_t bitset_blocks = 0;  // of all writesets
};

struct check_summary {
  std::uint64_t nr_metadata_blocks = 0;
  std::optional<view_summary> live, snapshot;  // as far as they could be opened
  std::optional<std::uint64_t> blocks_in_use;  // by the space map, where it was checked
  bool leaks_checked = false;                  // not when damaged trees hide what they refer to
};

// Findings come one at a time, ungrouped, in a fixed order. Throws no_snapshot where a snapshot is
// asked for and none is held, or where it was dropped meanwhile.
check_summary check_metadata(const pd::block_device&, const check_scope&, const finding_sink&);

}  // namespace era
