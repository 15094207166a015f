// SPDX-License-Identifier: GPL-3.0-or-later
// Checks what the arrays hold: eras that have not begun, bits past a writeset's end, and archived
// writesets that digestion would write over newer eras.
#pragma once

#include <vector>

#include "era/damage/finding.h"
#include "era/metadata/metadata.h"
#include "persistent-data/io/block_device.h"

namespace era {

// Reads every block of the era array and of every writeset once, in parallel; a stripe whose eras
// are out of order is read a second time. Returns for each stripe, as far as the array is known,
// the newest era in its sound blocks.
std::vector<era_nr> check_content(const metadata&, const pd::block_device&, const finding_sink&);

}  // namespace era
