// SPDX-License-Identifier: GPL-3.0-or-later
// Lists the origin blocks that were written in a window of eras: a filter over the fold of stripes,
// and what is in doubt because of damage.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "era/invalidate/chosen_blocks.h"
#include "era/invalidate/doubts.h"
#include "era/view/finding.h"
#include "era/view/metadata.h"
#include "persistent-data/io/block_device.h"

namespace era {

struct listed_blocks {
  chosen_blocks blocks;
  std::uint64_t listed = 0;
  std::uint64_t in_doubt = 0;  // of those, listed only because damage hides when they were written
};

// The blocks that were last written in an era of the window, none at or past nr_blocks; with them
// all that is in doubt: what is_in_doubt says, and what damage to the arrays hides. That damage
// goes to the sink; whether the list may be used in spite of it is the caller's to say.
listed_blocks list_blocks(const metadata&, const pd::block_device&, const era_window&,
                          const doubts& in_doubt, const finding_sink&);

// The whole way to an answer: first superblock, trees and reference counts are checked, without
// which a pointer to an outdated block would go unnoticed; then the list is made. Findings are
// those that matter to it.
class changed_blocks {
 public:
  // Throws no_snapshot, device_error.
  changed_blocks(const pd::block_device&, source, const era_window&, finding_sink);

  // What was opened; nothing where there is no superblock, or none that can be trusted about the
  // size of the origin: then there is no list.
  const std::optional<metadata>& opened() const noexcept { return metadata_; }
  bool is_damaged() const noexcept { return damaged_; }

  // Lists with list_blocks. An attempt that finds reasons to doubt all blocks, or the size, only
  // while it is under way says so: nothing is returned; where opened() still has something, list
  // again.
  std::optional<listed_blocks> list();

 private:
  void note(finding);

  const pd::block_device& device_;
  era_window window_;
  finding_sink sink_;
  std::optional<metadata> metadata_;
  std::vector<finding> found_;
  doubts in_doubt_;
  bool damaged_ = false, size_doubtful_ = false, all_doubtful_ = false;
};

}  // namespace era
