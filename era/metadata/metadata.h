// SPDX-License-Identifier: GPL-3.0-or-later
// An opened piece of metadata, live or snapshot: its superblock, its writesets and its era array,
// as far as the trees go. What the arrays hold is read by content.h and stripe.h.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

#include "era/damage/finding.h"
#include "era/format/superblock.h"
#include "era/format/writeset.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/read/array_map.h"

namespace era {

enum class source {
  live,
  snapshot  // the metadata snapshot; its device may be live
};

// A writeset that is not yet in the era array, or only in part.
struct writeset {
  place where;  // and its era
  std::uint32_t nr_bits = 0;
  pd::array_map bits;  // of le64 words
};
static_assert(sizeof(writeset) == 40);  // hostile metadata may have four million

struct metadata {
  source from = source::live;
  superblock sb;
  pd::block_nr location;           // of sb
  std::deque<writeset> writesets;  // ascending by era; the current one is the last
  pd::array_map eras;              // of le32 eras, by origin block
  // Indices into writesets, those with most blocks first; see writesets_at().
  std::vector<std::uint32_t> longest_first;

  bool in_snapshot() const noexcept { return from == source::snapshot; }
  place place_of(part what) const noexcept { return {what, {}, in_snapshot()}; }

  // Indices of the writesets whose bitset's block of this number may be known. Together, all blocks
  // of all bitsets are as many as the device has: a loop over stripes and these is bounded by that.
  std::span<const std::uint32_t> writesets_at(std::uint64_t stripe) const noexcept;
};

// A metadata snapshot was asked for and there is none, or no longer: the command ends. The message
// names the device.
class no_snapshot : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws no_snapshot where the live superblock says that none is held.
void require_snapshot(const pd::block_device&, const superblock& live);

// Reads a superblock. On a live device it may be read torn: where may_be_torn is set, it is read
// again a few times when its checksum fails. Findings: what is wrong with it; nothing is returned
// where it cannot be used at all.
std::optional<superblock> read_superblock(pd::read_queue&, std::uint64_t nr_metadata_blocks,
                                          pd::block_nr where, bool may_be_torn,
                                          const finding_sink&);

// Reads the snapshot's superblock, which the live one points to.
std::optional<superblock> read_snapshot_superblock(pd::read_queue&,
                                                   std::uint64_t nr_metadata_blocks,
                                                   const superblock& live, const finding_sink&);

// Walks the trees below a superblock. Damage goes to the sink: each once, in the order in which it
// is met. The counter of the walk must be in a view of its own.
metadata map_metadata(pd::btree_walk&, source, pd::block_nr location, const superblock&,
                      const finding_sink&);

// Superblock, then trees, for commands that want nothing else. Nothing where the superblock cannot
// be used, which is a finding. Throws no_snapshot.
std::optional<metadata> open_metadata(pd::read_queue&, const pd::block_device&, source,
                                      const finding_sink&);

// After all reading from a metadata snapshot: throws no_snapshot where it is not held any more,
// since what was read may then be anything. Does nothing for live metadata.
void require_still_held(pd::read_queue&, const pd::block_device&, const metadata&);

}  // namespace era
