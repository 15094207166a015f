// SPDX-License-Identifier: GPL-3.0-or-later
// Creates the file exclusively and remembers its device and inode, so that only this file is
// removed, never another one that has taken its name.
#include "era/sim/created_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"

namespace era::sim {

namespace pd = persistent_data;

created_file::created_file(std::string path, std::uint64_t bytes) : path_(std::move(path)) {
  const int fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0 && errno == EEXIST)
    throw pd::device_error(
        fmt::format("{}: is there already; remove it, or use it without --create-metadata", path_));
  if (fd < 0)
    throw pd::device_error(fmt::format("{}: cannot be created: {}", path_, std::strerror(errno)));
  struct stat status {};
  bool made = ::fstat(fd, &status) == 0;
  device_ = status.st_dev;
  inode_ = status.st_ino;
  made = made && ::ftruncate(fd, static_cast<off_t>(bytes)) == 0;
  const int error = errno;
  ::close(fd);
  if (made) return;
  remove();
  throw pd::device_error(fmt::format("{}: cannot be created with a size of {} bytes: {}", path_,
                                     bytes, std::strerror(error)));
}

created_file::~created_file() {
  if (!kept_) remove();
}

void created_file::remove() const noexcept {
  struct stat status {};
  if (::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_)
    ::unlink(path_.c_str());
}

}  // namespace era::sim
