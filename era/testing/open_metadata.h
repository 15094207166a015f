// SPDX-License-Identifier: GPL-3.0-or-later
// Metadata without the check of its reference counts.
#pragma once

#include <optional>

#include "era/metadata/metadata.h"

namespace era::test {

// Reads the superblock, then walks the trees. Returns nullopt, and reports a finding, if the
// superblock cannot be used. Throws device_error.
std::optional<metadata> open_metadata(pd::read_queue&, const pd::block_device&, source,
                                      const finding_sink&);

}  // namespace era::test
