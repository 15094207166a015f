// SPDX-License-Identifier: GPL-3.0-or-later
// Metadata, live or a snapshot: the places of its writesets and its era array, and its losses.
// Sound metadata is salvaged metadata without losses. stripe.h reads the content of the arrays.
//
//   check_metadata   -> metadata without losses, if no damage was reported
//   salvage_metadata -> metadata with losses
//   -> stripe_reader -> folds, filters, copies
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "era/damage/finding.h"
#include "era/format/superblock.h"
#include "era/format/writeset.h"
#include "era/metadata/losses.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/read/array_map.h"

namespace era {

enum class source {
  live,
  snapshot  // the metadata snapshot; its device may be live
};

// A bitset whose bits count as written in an era, as far as they are not yet in the era array.
struct writeset {
  pd::array_map bits;  // of le64 words
  era_nr era;
  std::uint32_t nr_bits = 0;
  bool is_current = false;
  bool era_is_assumed = false;  // the era in which it was written is unknown, and not newer
};
static_assert(sizeof(writeset) == 40);  // hostile metadata may have four million

struct metadata {
  source from = source::live;
  pd::block_nr location;   // of the superblock that it was opened with
  std::uint32_t csum = 0;  // of that superblock
  std::uint32_t block_size = 0, nr_blocks = 0;
  era_nr current_era;
  era_nr least_current_era;  // the oldest that it can be: current_era, unless that is assumed
  uuid_bytes uuid{};
  // Ascending by era. Sound metadata has one of each era, the current one last; of salvaged
  // metadata, all that are of an era are one writeset: a block that one of them lists is listed.
  std::deque<writeset> writesets;
  pd::array_map eras;      // of le32 eras, by origin block
  era_nr newest_possible;  // a block of the era array that has a newer one is damaged
  losses lost;
  // Indices into writesets, those with most blocks first; see writesets_at().
  std::vector<std::uint32_t> longest_first;

  bool in_snapshot() const noexcept { return from == source::snapshot; }
  place place_of(part what) const noexcept { return {what, {}, in_snapshot()}; }
  place place_of(const writeset& ws) const noexcept {
    return {ws.is_current ? part::current_writeset : part::writeset, ws.era, in_snapshot()};
  }

  // Indices of the writesets whose bitset's block of this number may be known. Together, all blocks
  // of all bitsets are as many as the device has: a loop over stripes and these is bounded by that.
  std::span<const std::uint32_t> writesets_at(std::uint64_t stripe) const noexcept;

  // Must be called once, after writesets or losses have been changed: sorts them, and records bits
  // without a bitset block as lost.
  void resolve();
};

// Throws device_error if the live superblock says that no snapshot is held.
void require_snapshot(const pd::block_device&, const superblock& live);

// On a live device a read may be torn: until_whole reads a superblock that cannot be used up to 10
// times.
enum class superblock_reading { once, until_whole };

// Reads a superblock, and reports what is wrong with it as findings. Returns nullopt if it cannot
// be used at all.
std::optional<superblock> read_superblock(pd::read_queue&, std::uint64_t nr_metadata_blocks,
                                          pd::block_nr where, superblock_reading,
                                          const finding_sink&);

// Reads the snapshot's superblock, to which the live one points.
std::optional<superblock> read_snapshot_superblock(pd::read_queue&,
                                                   std::uint64_t nr_metadata_blocks,
                                                   const superblock& live, const finding_sink&);

// Walks the trees below a superblock. The sink gets each damage once, in the order of the walk. The
// counter of the walk must be in a view of its own.
metadata map_metadata(pd::btree_walk&, source, pd::block_nr location, const superblock&,
                      const finding_sink&);

// Every reader of a metadata snapshot calls this after its last read, before it uses or reports
// what it found: the blocks of a snapshot that was dropped are reused. Throws device_error if the
// live superblock does not name this snapshot any more, or cannot be read. csum: of the snapshot's
// superblock; nullopt if that could not be read. Reads two blocks.
void require_still_held(const pd::block_device&, pd::block_nr snapshot,
                        std::optional<std::uint32_t> csum);
// The same for metadata that was read from a snapshot; does nothing for live metadata.
void require_still_held(const pd::block_device&, const metadata&);

}  // namespace era
