// SPDX-License-Identifier: GPL-3.0-or-later
// The way from a device to metadata whose lists and dumps may be relied on.
#pragma once

#include <optional>

#include "era/damage/finding.h"
#include "era/metadata/metadata.h"
#include "persistent-data/io/block_device.h"

namespace era {

// Is the finding one of damage that may make a list of written blocks wrong? Leaked blocks do not,
// nor do blocks of the space map that cannot be read or have a wrong checksum: no pointer leads to
// what is wrong.
bool affects_lists(const finding&) noexcept;

// Checks superblock, trees and reference counts, and maps the metadata. Without the reference
// counts, a pointer to an outdated block would go unnoticed, and so would metadata that was cut
// off. The arrays of a metadata snapshot beside the live metadata are read, too: if they were used
// again, the superblock is outdated. Reports the findings that affect lists, and returns nullopt if
// there are any; the arrays of what is mapped are for the caller to read. Throws device_error.
std::optional<metadata> map_sound_metadata(const pd::block_device&, source, const finding_sink&);

}  // namespace era
