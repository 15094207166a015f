// SPDX-License-Identifier: GPL-3.0-or-later
// Damage as a value: what is wrong with a block, and what cannot be known because of it. Readers
// hand it to a sink and go on; the command decides what it means.
#pragma once

#include <functional>
#include <string>

#include "persistent-data/format/block.h"
#include "persistent-data/format/strong.h"

namespace persistent_data {

struct block_error {
  block_nr block;  // where it was found
  error_detail error;
  // The values that it hides, in the units of the reader that reports it: keys for a btree,
  // elements for an array, metadata blocks for a space map. Empty: nothing is hidden.
  range hidden;
};

// Called by one thread at a time.
using block_error_sink = std::function<void(const block_error&)>;

}  // namespace persistent_data
