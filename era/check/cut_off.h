// SPDX-License-Identifier: GPL-3.0-or-later
// Evidence that something was cut off: intact blocks that nothing leads to.
#pragma once

#include "era/format/units.h"
#include "persistent-data/format/block.h"

namespace era {

// May the block, as it was read, have listed written origin blocks, or have led to blocks that did?
// An empty node or bitset has not; nor has a block of the era array, for its place in the array
// would be missing; nor a leaf of the space map's tree; nor a block that is not intact. Cheap.
bool may_list_writes(const pd::block&, pd::block_nr where);

}  // namespace era
