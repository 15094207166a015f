// SPDX-License-Identifier: GPL-3.0-or-later
// Makes durable what was written to a file, or into a directory.
#pragma once

#include <string>

#include "persistent-data/io/system_calls.h"

namespace persistent_data {

// Each returns 0 or the error's number. A file system that became read-only meanwhile, after an
// error, has lost what was written.
//
// The content of a file or device, and what is needed to read it.
int flush_data(int fd, system_calls&);
// The content, and all that is known of the file.
int flush_device(int fd, system_calls&);
// The same, but 0 if the target cannot be flushed, such as a pipe.
int flush_file(int fd, system_calls&);

// Makes the names in a directory durable: of new files, and of renamed ones. The descriptor may be
// one of O_PATH. Returns 0 or the error's number. A directory that may be written, but not read, is
// flushed together with everything else.
int flush_directory(int fd, system_calls&);

// The same for the directory that the file at this path is in.
int flush_directory_of(const std::string& path, system_calls&);

}  // namespace persistent_data
