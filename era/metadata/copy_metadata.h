// SPDX-License-Identifier: GPL-3.0-or-later
// Copies metadata to a sink: stripes are read and encoded in parallel, and appended in order.
#pragma once

#include "era/damage/finding.h"
#include "era/metadata/metadata.h"
#include "era/xml/metadata_sink.h"
#include "persistent-data/io/block_device.h"

namespace era {

enum class copy_form {
  as_it_is,
  logical  // without writesets: all are folded into the era array
};

// Ends at the first damage: hands it to the finding_sink and returns false, with the sink's
// document unfinished. The metadata's own maps must be without damage. Throws what the sink throws.
bool copy_metadata(const metadata&, const pd::block_device&, copy_form, metadata_sink&,
                   const finding_sink&);

}  // namespace era
