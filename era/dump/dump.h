// SPDX-License-Identifier: GPL-3.0-or-later
// Prints metadata as XML: pieces are formatted in parallel and written in order.
#pragma once

#include <functional>
#include <string_view>

#include "era/damage/finding.h"
#include "era/metadata/metadata.h"
#include "persistent-data/io/block_device.h"

namespace era {

struct dump_options {
  bool logical = false;  // fold all writesets into the era array
  bool compact = false;  // runs instead of single blocks
};

// Takes a piece of the document, in order; may throw.
using text_sink = std::function<void(std::string_view)>;

// Ends at the first damage: hands it to the sink and returns false, with the document unfinished.
// The metadata's own maps must be without damage.
bool dump_metadata(const metadata&, const pd::block_device&, const dump_options&, const text_sink&,
                   const finding_sink&);

}  // namespace era
