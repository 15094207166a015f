// SPDX-License-Identifier: GPL-3.0-or-later
// The path by which a later backup finds a file or device again.
#pragma once

#include <string>

namespace era {

bool is_block_device(const std::string& path) noexcept;

// Returns an absolute path without "." and "..", and the path itself if it cannot be resolved. A
// file's has no links either. A block device keeps the name that was given: links such as
// /dev/disk/by-id/... are what names it for good, and the number that they lead to changes.
std::string lasting_path(const std::string& path);

}  // namespace era
