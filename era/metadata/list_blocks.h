// SPDX-License-Identifier: GPL-3.0-or-later
// Lists the origin blocks that were written in a window of eras: a filter over the fold of stripes.
#pragma once

#include <cstdint>

#include "era/damage/finding.h"
#include "era/metadata/block_set.h"
#include "era/metadata/metadata.h"
#include "era/metadata/stripe.h"
#include "persistent-data/io/block_device.h"

namespace era {

// Eras [begin, end) that are asked for.
using era_window = era_range;

struct change_list {
  block_set blocks;
  std::uint64_t listed = 0;
  std::uint64_t in_doubt = 0;  // of those, listed only because damage hides when they were written
};

// The blocks that were last written in an era of the window, none at or past nr_blocks. If losses
// are refused and damage goes to the sink, blocks are missing, and the list must not be used. If
// they are assumed to be written, a block is listed if any of the eras in which it may have been
// written last is in the window. Throws device_error if a metadata snapshot was dropped meanwhile.
change_list list_blocks(const metadata&, const pd::block_device&, const era_window&, loss_policy,
                        const finding_sink&);

// Counts the origin blocks whose last era is not known for sure. Reads only the stripes that can
// have any. Throws device_error if a metadata snapshot was dropped meanwhile.
std::uint64_t count_assumed(const metadata&, const pd::block_device&);

}  // namespace era
