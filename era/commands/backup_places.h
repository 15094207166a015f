// SPDX-License-Identifier: GPL-3.0-or-later
// The places of a backup, which must not be the same: what is written there would change what is
// read.
#pragma once

#include <string>

#include "era/backup/data_device.h"
#include "era/commands/backup_run.h"
#include "persistent-data/io/block_device.h"

namespace era {

// Returns true if both are, or will be, the same file or device, or one lies on the other. Throws
// device_error if a directory on the way to a file is not there.
bool is_same_place(const std::string& a, const std::string& b);

// Throws device_error if the state, or its journal, is the target, the source or the metadata.
void require_separate_state(const backup_options&);

// Throws device_error if target, state, backing file or standard output share storage with what the
// backup is made of, or the state with another of them.
void require_separate_places(const backup_options&, const data_device& source,
                             const pd::block_device& metadata);

// Throws device_error if a file that a new image's content will come from is the source, the
// metadata, the state or standard output. A name that is no path on this machine is none of them.
void require_separate_backing(const std::string& file, const backup_options&,
                              const data_device& source, const pd::block_device& metadata);

}  // namespace era
