// SPDX-License-Identifier: GPL-3.0-or-later
// Opening what holds data, for reading or for writing.
#include "era/backup/data_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/in_use.h"
#include "persistent-data/io/storage.h"

namespace era {
namespace {

constexpr std::uint64_t bytes_per_sector = 512;

std::uint64_t size_of(int fd, bool is_block_device) {
  std::uint64_t bytes = 0;
  struct stat status {};
  if (is_block_device ? ::ioctl(fd, BLKGETSIZE64, &bytes) != 0 : ::fstat(fd, &status) != 0)
    throw pd::device_error(fmt::format("cannot tell its size: {}", std::strerror(errno)));
  return is_block_device ? bytes : static_cast<std::uint64_t>(status.st_size);
}

}  // namespace

data_device::data_device(std::string path, data_access access, pd::system_calls& calls)
    : path_(std::move(path)), calls_(calls) {
  struct stat status {};
  if (::stat(path_.c_str(), &status) != 0) fail(std::strerror(errno));
  is_block_device_ = S_ISBLK(status.st_mode);
  if (!is_block_device_ && !S_ISREG(status.st_mode))
    fail("is neither a block device nor a regular file");

  // O_NONBLOCK: should the name have become a pipe meanwhile, do not wait for its other end.
  int flags = (access == data_access::read ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
  if (is_block_device_) flags |= O_EXCL | O_DIRECT;
  fd_ = pd::unique_fd(::open(path_.c_str(), flags));
  if (!fd_ && errno == EBUSY) fail(pd::held_by_kernel);
  if (!fd_) fail(std::strerror(errno));
  if (::fstat(fd_.get(), &status) != 0) fail(std::strerror(errno));
  if (is_block_device_ ? !S_ISBLK(status.st_mode) : !S_ISREG(status.st_mode))
    fail("changed its type while it was opened");
  if (access == data_access::read)
    pd::claim_for_reading(fd_.get(), path_);
  else
    pd::claim_for_writing(fd_.get(), path_);
  try {
    bytes_ = size_of(fd_.get(), is_block_device_);
  } catch (const pd::device_error& e) {
    fail(e.what());
  }
  if (bytes_ % bytes_per_sector != 0)
    fail(fmt::format("has {} bytes, which is no whole number of sectors", bytes_));
}

std::unique_ptr<pd::io_engine> data_device::make_engine() const {
  return pd::make_engine(pd::resolve(pd::engine_choice::automatic, is_block_device_), fd_.get(),
                         calls_);
}

void data_device::resize(std::uint64_t bytes) {
  while (::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0)
    if (errno != EINTR)
      fail(fmt::format("cannot be made {} bytes long: {}", bytes, std::strerror(errno)));
  bytes_ = bytes;
}

std::uint64_t data_device::sector_bytes() const {
  int bytes = 1;
  if (is_block_device_ && ::ioctl(fd_.get(), BLKSSZGET, &bytes) != 0)
    fail(fmt::format("cannot tell the size of its sectors: {}", std::strerror(errno)));
  return static_cast<std::uint64_t>(bytes);
}

void data_device::write_through_cache() {
  const int flags = ::fcntl(fd_.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd_.get(), F_SETFL, flags & ~O_DIRECT) != 0)
    fail(fmt::format("cannot be written through the page cache: {}", std::strerror(errno)));
}

bool data_device::overlaps(const std::string& path) const {
  struct stat ours {};
  return ::fstat(fd_.get(), &ours) == 0 && pd::storage::of(ours).overlaps(pd::storage::at(path));
}

void data_device::fail(const std::string& why) const {
  throw pd::device_error(fmt::format("{}: {}", path_, why));
}

}  // namespace era
