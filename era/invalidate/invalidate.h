// SPDX-License-Identifier: GPL-3.0-or-later
// Lists the origin blocks that were written in a window of eras: a filter over the fold of stripes.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "era/invalidate/doubts.h"
#include "era/view/finding.h"
#include "era/view/metadata.h"
#include "era/xml/run_joiner.h"
#include "persistent-data/io/block_device.h"

namespace era {

struct listed_blocks {
  std::uint64_t listed = 0;
  std::uint64_t in_doubt = 0;  // of those, listed only because damage hides when they were written
};

// Prints each stretch of blocks that were last written in an era of the window, ascending and as
// long as it goes, none at or past nr_blocks; with it all that is in doubt: what is_in_doubt says,
// and what damage to the arrays hides. That damage goes to the sink; whether the list may be used
// in spite of it is the caller's to say. The text comes in order, in pieces of up to some
// megabytes.
listed_blocks list_blocks(const metadata&, const pd::block_device&, const era_window&,
                          const doubts& in_doubt, const run_printer&,
                          const std::function<void(std::string_view)>& out, const finding_sink&);

}  // namespace era
