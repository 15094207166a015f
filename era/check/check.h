// SPDX-License-Identifier: GPL-3.0-or-later
// All of era_check except its messages: checks everything that metadata is made of.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "era/damage/finding.h"
#include "era/format/superblock.h"
#include "era/metadata/metadata.h"
#include "persistent-data/io/block_device.h"

namespace era {

struct check_scope {
  source from = source::live;  // snapshot: only what the metadata snapshot reaches
  bool superblock_only = false;
  // Read what the arrays hold. If not, those of a snapshot beside the live metadata are read only.
  bool content = true;
  bool references = false;  // list in the summary what is suspect about references
  bool maps = false;        // keep the metadata that was mapped in the summary
};

// The parts of a view that were read.
struct view_summary {
  superblock sb{};
  pd::block_nr location;
  std::uint64_t archived_writesets = 0;
  std::uint64_t array_blocks = 0;   // of the era array
  std::uint64_t bitset_blocks = 0;  // of all writesets
};

// Blocks whose reference counts contradict the trees.
struct suspect_references {
  // Referred to by more than the space map counts, or by two owners: perhaps an outdated block, or
  // another's.
  std::vector<pd::block_nr> contested;
  // Counted, and more often than they are reached, and not at all from the live superblock: perhaps
  // something was cut off.
  std::vector<pd::block_nr> unreached;
  // Is all that the live metadata has cut off among them? Not if counts are damaged.
  bool complete = false;
};

// A result of the check. Move-only: it owns the maps of the metadata.
struct check_summary {
  std::uint64_t nr_metadata_blocks = 0;
  std::optional<view_summary> live, snapshot;  // as far as they could be opened
  // The metadata that the scope asks for, as far as its trees go; nullopt if it could not be
  // opened.
  std::optional<metadata> mapped;
  std::optional<std::uint64_t> blocks_in_use;  // by the space map, if it was checked
  bool leaks_checked = false;                  // not when damaged trees hide what they refer to
  suspect_references suspects;                 // if the scope asks for them
};

// Findings come one at a time, ungrouped, in a fixed order. Throws device_error if a snapshot is
// asked for and none is held, or if it was dropped meanwhile.
check_summary check_metadata(const pd::block_device&, const check_scope&, const finding_sink&);

}  // namespace era
