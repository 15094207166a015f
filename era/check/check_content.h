// SPDX-License-Identifier: GPL-3.0-or-later
// Checks what the arrays hold: eras that have not been yet, bits past a writeset's end.
#pragma once

#include "era/view/finding.h"
#include "era/view/metadata.h"
#include "persistent-data/io/block_device.h"

namespace era {

// Reads every block of the era array and of every writeset, in parallel.
void check_content(const metadata&, const pd::block_device&, const finding_sink&);

}  // namespace era
