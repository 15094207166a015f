// SPDX-License-Identifier: GPL-3.0-or-later
// Makes durable what was written to a file, or into a directory.
#pragma once

#include <cerrno>

#include "persistent-data/io/system_calls.h"

namespace persistent_data {

// Returns 0 or the error's number; 0 also if the target cannot be flushed, such as a pipe. A file
// system that became read-only meanwhile, after an error, has lost what was written.
inline int flush_file(int fd, system_calls& calls) {
  while (calls.fsync(fd) != 0)
    if (errno == EINVAL)
      return 0;
    else if (errno != EINTR)
      return errno;
  return 0;
}

}  // namespace persistent_data
