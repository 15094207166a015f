// SPDX-License-Identifier: GPL-3.0-or-later
// What can be saved of damaged metadata: where to read it, and what stands for the rest. Nothing of
// it says that a block was written earlier than it may have been.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "era/metadata/metadata.h"
#include "era/repair/assumed_ranges.h"
#include "era/repair/block_scan.h"
#include "era/xml/metadata_sink.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/read/array_map.h"

namespace era {

// A bitset whose bits count as written in an era. All sources of an era are one writeset: a block
// that one of them lists is listed. Blocks of a bitset that are lost list everything.
struct bitset_source {
  std::uint32_t era = 0, nr_bits = 0;
  bool era_is_assumed = false;  // the era in which it was written is unknown, and not newer
  pd::array_map bits;
};
static_assert(sizeof(bitset_source) == 40);  // hostile metadata may have four million

struct salvaged {
  std::uint32_t block_size = 0, nr_blocks = 0;
  era_nr current_era;
  uuid_bytes uuid{};
  std::deque<bitset_source> sources;  // ascending by era
  assumed_ranges ranges;
  // Blocks of bitsets that nothing names: their bits count as written in the current era.
  stray_blocks stray_bits;
  // Origin blocks whose era it has lost were written in the current era. A block of it that has an
  // era past last_possible counts as lost.
  pd::array_map eras;
  era_nr last_possible;
  // The newest of the eras in any of these blocks counts, too; it is assumed that they were the
  // array's.
  stray_blocks stray_eras;
  // From blocks whose place nothing tells: eras by place in any block of the era array, only if
  // is_folded is set; and the words of bitset blocks, whose bits count as written in the current
  // era. Empty if there are none.
  std::vector<std::uint32_t> eras_anywhere;
  std::vector<std::uint64_t> bits_anywhere;
  // The superblock is lost: what is read may be outdated or of another place, and too new as well.
  bool searched = false;
  // The array has eras that are newer than a writeset's. Digestion would replace them with the
  // older one, so that the document has no writesets: all are folded into its array.
  bool is_folded = false;
  // By stripe: a block that it needs cannot be used. Empty: not known, it may be any.
  std::vector<bool> has_losses;
  // For require_still_held; without maps.
  metadata read_from;
  std::vector<std::uint32_t> longest_first;  // as metadata's, for sources

  // Must be called once, after all else is set.
  void resolve();

  std::span<const std::uint32_t> sources_at(std::uint64_t stripe) const noexcept;
};

// Does the array have newer eras than a writeset that lists the same blocks? newest: of each
// stripe, the newest era that the array may have. Reads the stripes in which that can be.
bool is_out_of_order(const salvaged&, const pd::block_device&, const std::vector<era_nr>& newest);

// Copies salvaged metadata to a sink: writesets and an era array, or, if logical or is_folded is
// set, the folded array alone. step: called for each few stripes
// with the bytes that are done, of those that document_bytes says; what it throws ends it. Returns
// what count_assumed() says, if it was folded.
std::optional<std::uint64_t> write_document(const salvaged&, const pd::block_device&, bool logical,
                                            metadata_sink&,
                                            const std::function<void(std::uint64_t done)>& step);
std::uint64_t document_bytes(const salvaged&, bool logical);

// Folds stripes: the last era of each origin block, as far as it is known, and as it has to be
// assumed. The true one is neither older than the former nor newer than the latter. For one thread.
class salvaged_folder {
 public:
  salvaged_folder(const salvaged&, const pd::block_device&);
  salvaged_folder(salvaged_folder&&) noexcept;
  ~salvaged_folder();

  // Reads a stripe; both answers are valid until the next call.
  void fold(std::uint64_t stripe);
  std::span<const std::uint32_t> known() const noexcept;
  std::span<const std::uint32_t> assumed() const noexcept;

 private:
  std::unique_ptr<class salvaged_reader> reader_;
};

// Origin blocks that have a newer era than is known, because of what is not. Reads the stripes in
// which there can be any.
std::uint64_t count_assumed(const salvaged&, const pd::block_device&);

}  // namespace era
