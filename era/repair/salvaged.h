// SPDX-License-Identifier: GPL-3.0-or-later
// What can be saved of damaged metadata: where to read it, and what stands for the rest. Nothing of
// it says that a block was written earlier than it may have been.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "era/repair/block_survey.h"
#include "era/view/metadata.h"
#include "era/xml/reader.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/read/array_map.h"

namespace era {

struct salvaged_bitset {
  pd::array_map map;
  bool era_known = true;  // or is it only assumed to be of this era, and older?
};

// The bits of a writeset. Where several sources have a bit, one that is set counts.
struct salvaged_writeset {
  std::uint32_t nr_bits = 0;
  // What these have lost is set.
  std::vector<salvaged_bitset> bitsets;
  // Bits that are set in any of these blocks are set, too: that they are of this era is assumed.
  loose_blocks loose;
  // Origin blocks that are set, whatever is read.
  pd::range all_of;
};

struct salvaged {
  std::uint32_t block_size = 0, nr_blocks = 0;
  era_nr current_era;
  std::map<std::uint32_t, salvaged_writeset> writesets;  // by era
  // Origin blocks whose era it has lost were written in the current era; a block of it is lost,
  // too, where it has an era past the last that is possible.
  pd::array_map eras;
  era_nr last_possible;
  // The newest of the eras in any of these blocks counts, too; that they are the array's is
  // assumed.
  loose_blocks older_eras;
  // The superblock is lost: what is read may be outdated or of another place, and too new as well.
  bool searched = false;
  // Something is lost or assumed. Where nothing is, writesets are newer than all of the array.
  bool doubtful = false;
  // For require_still_held; without maps.
  metadata read_from;
};

// Hands salvaged metadata to whoever takes a document, as era_dump would print it: in writesets and
// an era array, or, where logical is set, folded into the array. step: called for each few stripes
// with the bytes that are done, of those that document_bytes says; what it throws ends it.
void write_document(const salvaged&, const pd::block_device&, bool logical, xml::document&,
                    const std::function<void(std::uint64_t done)>& step);
std::uint64_t document_bytes(const salvaged&, bool logical);

// Folds stripes: the last era of each origin block, as far as it is known, and as it has to be
// assumed. The true one is neither older than the former nor newer than the latter. For one thread;
// what is returned is valid until the next call.
class salvaged_folder {
 public:
  salvaged_folder(const salvaged&, const pd::block_device&);
  salvaged_folder(salvaged_folder&&) noexcept;
  ~salvaged_folder();

  const std::vector<std::uint32_t>& known(std::uint64_t stripe);
  const std::vector<std::uint32_t>& assumed(std::uint64_t stripe);

 private:
  std::unique_ptr<class salvaged_reader> reader_;
};

// Origin blocks that have a newer era than is known, because of what is not.
std::uint64_t count_assumed(const salvaged&, const pd::block_device&);

}  // namespace era
