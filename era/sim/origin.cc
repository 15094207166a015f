// SPDX-License-Identifier: GPL-3.0-or-later
// Opens the origin, exclusively if it is a block device, and claims it for writing. Transfers that
// the system interrupts or cuts short are continued.
#include "era/sim/origin.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/io/in_use.h"

namespace era::sim {

void no_origin::read(std::uint64_t, std::uint64_t count, std::byte* data) {
  std::memset(data, 0, count * 512);
}

file_origin::file_origin(std::string path) : path_(std::move(path)) {
  struct stat status {};
  if (::stat(path_.c_str(), &status) != 0) fail("opened");
  is_block_device_ = S_ISBLK(status.st_mode);
  if (!is_block_device_ && !S_ISREG(status.st_mode))
    throw pd::device_error(
        fmt::format("{}: the origin is neither a block device nor a regular file", path_));
  // Not while somebody has mounted it, or device-mapper holds it.
  fd_ = pd::unique_fd(::open(path_.c_str(), O_RDWR | O_CLOEXEC | (is_block_device_ ? O_EXCL : 0)));
  if (!fd_ && errno == EBUSY)
    throw pd::device_error(fmt::format("{}: {}", path_, pd::held_by_kernel));
  if (!fd_) fail("opened");
  pd::claim_for_writing(fd_.get(), path_);
  auto bytes = static_cast<std::uint64_t>(status.st_size);
  if (is_block_device_ && ::ioctl(fd_.get(), BLKGETSIZE64, &bytes) != 0) fail("measured");
  sectors_ = bytes / 512;
}

void file_origin::fail(const char* what) const {
  const int error = errno;
  throw pd::device_error(
      fmt::format("{}: the origin cannot be {}: {}", path_, what, std::strerror(error)));
}

void file_origin::read(std::uint64_t sector, std::uint64_t count, std::byte* data) {
  for (std::size_t done = 0; done < count * 512;) {
    const ssize_t n = ::pread(fd_.get(), data + done, count * 512 - done,
                              static_cast<off_t>(sector * 512 + done));
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = ENODATA;
    if (n <= 0) fail("read");
    done += static_cast<std::size_t>(n);
  }
}

void file_origin::write(std::uint64_t sector, std::uint64_t count, const std::byte* data) {
  for (std::size_t done = 0; done < count * 512;) {
    const ssize_t n = ::pwrite(fd_.get(), data + done, count * 512 - done,
                               static_cast<off_t>(sector * 512 + done));
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = ENOSPC;
    if (n <= 0) fail("written");
    done += static_cast<std::size_t>(n);
  }
}

void file_origin::discard(std::uint64_t sector, std::uint64_t count) {
  const std::uint64_t range[2] = {sector * 512, count * 512};
  const int result = is_block_device_
                         ? ::ioctl(fd_.get(), BLKDISCARD, range)
                         : ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                       static_cast<off_t>(range[0]), static_cast<off_t>(range[1]));
  // A discard is a hint: devices and file systems may know none.
  if (result != 0 && errno != EOPNOTSUPP && errno != ENOTTY) fail("discarded");
}

void file_origin::flush() {
  while (::fdatasync(fd_.get()) != 0)
    if (errno != EINTR) fail("flushed");
}

}  // namespace era::sim
