// SPDX-License-Identifier: GPL-3.0-or-later
// Damage in the terms of era metadata: which part of it, and which origin blocks or eras it
// touches.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "era/format/superblock.h"
#include "persistent-data/format/block_error.h"

namespace era {

enum class part {
  superblock,
  writeset_tree,
  writeset,  // an archived one
  current_writeset,
  era_array,
  space_map,
  reference_counts
};

struct place {
  part what = part::superblock;
  era_nr era{};           // of a writeset
  bool snapshot = false;  // in the metadata snapshot, not in the live metadata

  friend bool operator==(const place&, const place&) = default;
};

// "era array", "writeset of era 3 of the metadata snapshot"
std::string in_words(const place&);

struct finding {
  place where;
  pd::block_range blocks;
  pd::error_detail error;
  // Hidden by it, so that nothing is known of them: origin blocks for the superblock, writesets and
  // the era array, eras for the writeset tree, metadata blocks for the space map. Empty: nothing.
  pd::range hidden;

  // Every finding except a leak is fatal.
  bool fatal() const noexcept { return pd::row_of(error.type).is_fatal; }
};

// Does it say that the device holds something else than era metadata? Then there is nothing to be
// repaired.
bool is_no_metadata(const finding&);

// Does it say that intact blocks do not belong together? Then the last write of one of them was
// lost. If it was the superblock, whatever was written since may be missing from all of them.
bool is_contradiction(const finding&);

// Returns what the finding means for the user.
std::string meaning(const finding&);

// Called by one thread at a time.
using finding_sink = std::function<void(finding)>;
// A finding_sink for what is read a second time, or cannot have any.
inline void ignore_findings(const finding&) {}

// For readers of persistent-data: a sink that says of which part the damage is. The finding_sink
// must outlive it. per_value: origin
// blocks in one hidden unit (64 for a bitset's words); limit: the end of what can be hidden.
pd::block_error_sink sink_of(const place&, const finding_sink&, std::uint64_t per_value,
                             std::uint64_t limit);

}  // namespace era
