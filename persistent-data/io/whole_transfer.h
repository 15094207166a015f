// SPDX-License-Identifier: GPL-3.0-or-later
// Reads and writes all of some bytes of a file or device: interrupted calls are repeated, short
// ones continued.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

#include "persistent-data/io/short_transfer.h"
#include "persistent-data/io/system_calls.h"

namespace persistent_data {

// Each returns 0, or the errno that ended it. offset: in bytes. If whole sectors are asked for,
// only whole ones count as done, as O_DIRECT demands.
//
// ENODATA if the file ends first.
inline int read_whole(int fd, std::span<std::byte> to, std::uint64_t offset, system_calls& calls) {
  for (std::size_t done = 0; done < to.size();) {
    const ssize_t n =
        calls.pread(fd, to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (const int e = continue_transfer(done, to.size(), n < 0 ? -errno : n, ENODATA)) return e;
  }
  return 0;
}

// ENOSPC if no more is taken, though no call says why.
inline int write_whole(int fd, std::span<const std::byte> from, std::uint64_t offset,
                       system_calls& calls) {
  for (std::size_t done = 0; done < from.size();) {
    const ssize_t n =
        calls.pwrite(fd, from.data() + done, from.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (const int e = continue_transfer(done, from.size(), n < 0 ? -errno : n, ENOSPC)) return e;
  }
  return 0;
}

}  // namespace persistent_data
