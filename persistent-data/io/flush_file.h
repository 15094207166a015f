// SPDX-License-Identifier: GPL-3.0-or-later
// Makes durable what was written to a file, or into a directory.
#pragma once

#include <string>

#include "persistent-data/io/system_calls.h"

namespace persistent_data {

// Returns 0 or the error's number; 0 also if the target cannot be flushed, such as a pipe. A file
// system that became read-only meanwhile, after an error, has lost what was written.
int flush_file(int fd, system_calls&);

// Makes the names in a directory durable: of new files, and of renamed ones. The descriptor may be
// one of O_PATH. Returns 0 or the error's number. A directory that may be written, but not read, is
// flushed together with everything else.
int flush_directory(int fd, system_calls&);

// The same for the directory that the file at this path is in.
int flush_directory_of(const std::string& path, system_calls&);

}  // namespace persistent_data
