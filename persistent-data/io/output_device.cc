// SPDX-License-Identifier: GPL-3.0-or-later
// Opening a device to write metadata to it.
#include "persistent-data/io/output_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <utility>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/file_store.h"
#include "persistent-data/io/in_use.h"

namespace persistent_data {

namespace {

constexpr std::uint64_t mebibyte = std::uint64_t{1} << 20;

// As sh takes it back: a path with anything unusual in it is quoted.
std::string shell_word(const std::string& path) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) || std::strchr("/._-+,:=@%", c) != nullptr;
  };
  if (std::all_of(path.begin(), path.end(), plain) && !path.starts_with('-')) return path;
  std::string word = path.starts_with('-') ? "./'" : "'";
  for (const char c : path) c == '\'' ? word += "'\\''" : word += c;
  return word + '\'';
}

}  // namespace

std::string how_to_enlarge(const std::string& path, bool is_block_device, std::uint64_t nr_blocks) {
  const std::uint64_t bytes = nr_blocks * block_size;
  const std::uint64_t mebibytes = (bytes + mebibyte - 1) / mebibyte;
  if (is_block_device) return fmt::format("take a device of {} MiB", mebibytes);
  return fmt::format("make it so large first: truncate -s {}M {}", mebibytes, shell_word(path));
}

output_device::output_device(std::string path, std::uint64_t wanted_blocks, engine_choice engine,
                             system_calls& calls)
    : path_(std::move(path)), wanted_blocks_(wanted_blocks), engine_(engine), calls_(calls) {
  try {
    open();
    claim_for_writing(fd_, path_);
    measure();
  } catch (...) {
    if (fd_ >= 0) ::close(fd_);
    throw;
  }
}

output_device::~output_device() { ::close(fd_); }

void output_device::fail(const std::string& why) const {
  throw device_error(fmt::format("{}: {}", path_, why));
}

void output_device::open() {
  struct stat status {};
  if (::stat(path_.c_str(), &status) != 0) {
    const int error = errno;
    if (error != ENOENT) fail(std::strerror(error));
    fail(fmt::format("is not there; {}", how_to_enlarge(path_, false, wanted_blocks_)));
  }
  is_block_device_ = S_ISBLK(status.st_mode);
  if (!is_block_device_ && !S_ISREG(status.st_mode))
    fail("is neither a block device nor a regular file; metadata is written to one of these");
  engine_ = resolve(engine_, is_block_device_);

  // O_NONBLOCK: should the name have become a pipe meanwhile, do not wait for its reader.
  int flags = O_RDWR | O_CLOEXEC | O_NONBLOCK;
  if (is_block_device_) flags |= O_EXCL;
  const bool direct = is_block_device_ || engine_ != engine_choice::sync;
  fd_ = ::open(path_.c_str(), direct ? flags | O_DIRECT : flags);
  // Some file systems know no O_DIRECT; block devices all do.
  if (fd_ < 0 && errno == EINVAL && !is_block_device_) fd_ = ::open(path_.c_str(), flags);
  if (fd_ < 0 && errno == EBUSY) fail(held_by_kernel);
  if (fd_ < 0) fail(std::strerror(errno));
}

void output_device::measure() {
  struct stat status {};
  if (::fstat(fd_, &status) != 0) fail(std::strerror(errno));
  if (is_block_device_ ? !S_ISBLK(status.st_mode) : !S_ISREG(status.st_mode))
    fail("changed its type while it was opened");
  auto bytes = static_cast<std::uint64_t>(status.st_size);
  if (is_block_device_ && ::ioctl(fd_, BLKGETSIZE64, &bytes) != 0)
    fail(fmt::format("cannot tell its size: {}", std::strerror(errno)));
  nr_blocks_ = bytes / block_size;
  if (nr_blocks_ == 0)
    fail(fmt::format("is too small: it has {} bytes; {}", bytes,
                     how_to_enlarge(path_, is_block_device_, wanted_blocks_)));
}

std::unique_ptr<block_store> output_device::make_store() const {
  return make_file_store(fd_, path_, nr_blocks_, calls_);
}

std::unique_ptr<write_queue> output_device::make_queue() const {
  std::unique_ptr<io_engine> engine = make_engine(engine_, fd_, calls_);
  const auto flush = [fd = fd_, &calls = calls_] {
    while (calls.fsync(fd) != 0)
      if (errno != EINTR) return errno;
    return 0;
  };
  return std::make_unique<write_queue>(std::move(engine), flush, path_);
}

}  // namespace persistent_data
