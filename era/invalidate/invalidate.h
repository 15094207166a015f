// SPDX-License-Identifier: GPL-3.0-or-later
// Lists the origin blocks that were written in a window of eras: a filter over the fold of stripes.
#pragma once

#include <cstdint>
#include <optional>

#include "era/damage/finding.h"
#include "era/metadata/block_set.h"
#include "era/metadata/metadata.h"
#include "era/repair/salvaged.h"
#include "persistent-data/io/block_device.h"

namespace era {

// Eras [begin, end) that are asked for.
using era_window = pd::range;

struct listed_blocks {
  block_set blocks;
  std::uint64_t listed = 0;
  std::uint64_t in_doubt = 0;  // of those, listed only because damage hides when they were written
};

// The blocks that were last written in an era of the window, none at or past nr_blocks. Where
// damage goes to the sink, blocks are missing, and the list must not be used.
listed_blocks list_blocks(const metadata&, const pd::block_device&, const era_window&,
                          const finding_sink&);

// The same of damaged metadata: a block that was written between what is known of it and what has
// to be assumed is listed where any of these eras is asked for.
listed_blocks list_blocks(const salvaged&, const pd::block_device&, const era_window&);

// The whole way to an answer: first superblock, trees and reference counts are checked, without
// which a pointer to an outdated block would go unnoticed; then the list is made. Findings are
// those that matter to it.
class changed_blocks {
 public:
  // Throws no_snapshot, device_error.
  changed_blocks(const pd::block_device&, source, finding_sink);

  // The metadata that is listed; nullopt if it could not be opened.
  const std::optional<metadata>& opened() const noexcept { return metadata_; }

  // Leaked blocks, or damage to the space map: no pointer leads to what is wrong, but something may
  // have been cut off that the list lacks. A repair has to look.
  bool has_doubts() const noexcept { return has_doubts_; }

  // Nothing: damage was found, now or before, and there is no list.
  std::optional<listed_blocks> list(const era_window&);

 private:
  void note(finding);

  const pd::block_device& device_;
  finding_sink sink_;
  std::optional<metadata> metadata_;
  bool damaged_ = false, has_doubts_ = false;
};

}  // namespace era
