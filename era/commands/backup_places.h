// SPDX-License-Identifier: GPL-3.0-or-later
// The places of a backup, which must not be the same: what is written there would change what is
// read.
#pragma once

#include <string>

#include "era/backup/data_device.h"
#include "era/commands/backup_run.h"
#include "persistent-data/io/block_device.h"

namespace era {

// Without links, "." and ".."; the path itself if it cannot be resolved. That of a block device
// keeps its links: they are what names it for good, and lead to a number that changes.
std::string absolute_path(const std::string& path);

// Returns true if both are, or will be, the same file or device, or one lies on the other.
bool is_same_place(const std::string& a, const std::string& b);

// Throws device_error if target, state or standard output share storage with what the backup is
// made of, or the state with another of them.
void require_separate_places(const backup_options&, const data_device& source,
                             const pd::block_device& metadata);

// The same for the image that a new one continues, or for a file that its content comes from.
void require_separate_backing(const std::string& file, const backup_options&,
                              const data_device& source, const pd::block_device& metadata);

}  // namespace era
