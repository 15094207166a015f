// SPDX-License-Identifier: GPL-3.0-or-later
// Transfers that the system interrupts or cuts short are continued.
#include "era/sim/origin.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace era::sim {

void no_origin::read(std::uint64_t, std::uint64_t count, std::byte* data) {
  std::memset(data, 0, count * 512);
}

file_origin::file_origin(std::string path)
    : opened_(std::move(path), pd::access::writing, pd::page_cache::for_all) {}

void file_origin::fail(const char* what) const {
  opened_.fail(fmt::format("the origin cannot be {}: {}", what, std::strerror(errno)));
}

void file_origin::read(std::uint64_t sector, std::uint64_t count, std::byte* data) {
  for (std::size_t done = 0; done < count * 512;) {
    const ssize_t n = ::pread(opened_.descriptor(), data + done, count * 512 - done,
                              static_cast<off_t>(sector * 512 + done));
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = ENODATA;
    if (n <= 0) fail("read");
    done += static_cast<std::size_t>(n);
  }
}

void file_origin::write(std::uint64_t sector, std::uint64_t count, const std::byte* data) {
  for (std::size_t done = 0; done < count * 512;) {
    const ssize_t n = ::pwrite(opened_.descriptor(), data + done, count * 512 - done,
                               static_cast<off_t>(sector * 512 + done));
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = ENOSPC;
    if (n <= 0) fail("written");
    done += static_cast<std::size_t>(n);
  }
}

void file_origin::discard(std::uint64_t sector, std::uint64_t count) {
  const std::uint64_t range[2] = {sector * 512, count * 512};
  const int result =
      opened_.is_block_device()
          ? ::ioctl(opened_.descriptor(), BLKDISCARD, range)
          : ::fallocate(opened_.descriptor(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        static_cast<off_t>(range[0]), static_cast<off_t>(range[1]));
  // A discard is a hint: devices and file systems may know none.
  if (result != 0 && errno != EOPNOTSUPP && errno != ENOTTY) fail("discarded");
}

void file_origin::flush() {
  while (::fdatasync(opened_.descriptor()) != 0)
    if (errno != EINTR) fail("flushed");
}

}  // namespace era::sim
