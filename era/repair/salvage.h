// SPDX-License-Identifier: GPL-3.0-or-later
// Salvages damaged metadata. Blocks whose era is lost, contradicted or unproven count as written in
// the newest era that they may have.
#pragma once

#include "era/metadata/metadata.h"
#include "era/repair/repair_options.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/io/progress_function.h"

namespace era {

// Reads all metadata, each block in use twice at most, or, without a superblock, each block that
// was ever written three times at most; writes nothing. If the superblock may be outdated, the
// whole device is read once more; so are the arrays of a metadata snapshot. progress: called now
// and then. Returns metadata to be read with loss_policy::assume_written. Throws
// pd::damaged_metadata if there is nothing to save, or if only the user can tell something: the
// message says by which option. Throws pd::device_error, also if there is no metadata snapshot to
// be read.
metadata salvage_metadata(const pd::block_device&, const repair_options&, const repair_report&,
                          const pd::progress_function& progress);

}  // namespace era
