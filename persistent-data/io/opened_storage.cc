// SPDX-License-Identifier: GPL-3.0-or-later
// The file's type decides how it is opened, and may change in between: it is asked again then.
#include "persistent-data/io/opened_storage.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/in_use.h"

namespace persistent_data {
namespace {

const char* in_words(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISCHR(mode)) return "a character device";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "of an unknown type";
}

// Some kernels do not open such a device for writing, others do not write to it: both as if a right
// were missing.
bool is_read_only_device(const std::string& path) {
  const unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  int read_only = 0;
  return fd && ::ioctl(fd.get(), BLKROGET, &read_only) == 0 && read_only != 0;
}

}  // namespace

opened_storage::opened_storage(std::string path, access how, page_cache cache, const way_out& hints)
    : path_(std::move(path)) {
  open(how, cache, hints);
  require_other_standard_error();
  if (how == access::reading) claim_for_reading(fd_.get(), path_);
  if (how == access::writing) claim_for_writing(fd_.get(), path_);
  bytes_ = measure();
}

void opened_storage::open(access how, page_cache cache, const way_out& hints) {
  struct stat status {};
  if (::stat(path_.c_str(), &status) != 0) {
    if (errno == ENOENT && !hints.if_missing.empty())
      fail(fmt::format("is not there; {}", hints.if_missing));
    fail(std::strerror(errno));
  }
  is_block_device_ = S_ISBLK(status.st_mode);
  if (!is_block_device_ && !S_ISREG(status.st_mode))
    fail(fmt::format("is {}, neither a block device nor a regular file", in_words(status.st_mode)));

  // O_NONBLOCK: should the name have become a pipe meanwhile, do not wait for its other end.
  int flags = (how == access::writing ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK;
  if (is_block_device_ && how != access::shared) flags |= O_EXCL;
  const bool direct =
      cache == page_cache::where_needed || (cache == page_cache::for_files && is_block_device_);
  fd_ = unique_fd(::open(path_.c_str(), direct ? flags | O_DIRECT : flags));
  // Some file systems know no O_DIRECT; block devices all do.
  if (!fd_ && direct && errno == EINVAL && !is_block_device_)
    fd_ = unique_fd(::open(path_.c_str(), flags));
  const int error = errno;
  if (!fd_ && error == EBUSY) fail(held_by_kernel + hints.if_held);
  if (is_block_device_ && how == access::writing && is_read_only_device(path_))
    fail("is a read-only device; make it writable first, or name another");
  if (!fd_) fail(std::strerror(error));
  if (::fstat(fd_.get(), &status) != 0) fail(std::strerror(errno));
  if (is_block_device_ ? !S_ISBLK(status.st_mode) : !S_ISREG(status.st_mode))
    fail("changed its type while it was opened");
}

void opened_storage::require_other_standard_error() const {
  if (!overlaps(STDERR_FILENO)) return;
  const unique_fd nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  if (::dup2(nowhere.get(), STDERR_FILENO) < 0) ::close(STDERR_FILENO);
  fail("is standard error, too");
}

std::uint64_t opened_storage::measure() const {
  std::uint64_t bytes = 0;
  struct stat status {};
  if (is_block_device_ ? ::ioctl(descriptor(), BLKGETSIZE64, &bytes) != 0
                       : ::fstat(descriptor(), &status) != 0)
    fail(fmt::format("cannot tell its size: {}", std::strerror(errno)));
  return is_block_device_ ? bytes : static_cast<std::uint64_t>(status.st_size);
}

bool opened_storage::overlaps(const std::string& path) const {
  return storage::of_descriptor(descriptor()).overlaps(storage::at(path));
}

bool opened_storage::overlaps(int fd) const {
  return storage::of_descriptor(descriptor()).overlaps(storage::of_descriptor(fd));
}

void opened_storage::fail(const std::string& why) const {
  throw device_error(fmt::format("{}: {}", path_, why));
}

}  // namespace persistent_data
