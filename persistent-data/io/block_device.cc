// SPDX-License-Identifier: GPL-3.0-or-later
// Opening the metadata device.
#include "persistent-data/io/block_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "persistent-data/io/in_use.h"
#include "persistent-data/io/storage.h"

namespace persistent_data {
namespace {

std::string in_words(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISCHR(mode)) return "a character device";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "of an unknown type";
}

class watched_engine final : public io_engine {
 public:
  watched_engine(std::unique_ptr<io_engine> engine,
                 const std::function<void(std::uint64_t)>& watcher)
      : engine_(std::move(engine)), watcher_(watcher) {}

  std::size_t depth() const noexcept override { return engine_->depth(); }
  void submit(const io_request& request) override { engine_->submit(request); }
  io_completion wait() override {
    const io_completion done = engine_->wait();
    if (done.result > 0 && watcher_) watcher_(static_cast<std::uint64_t>(done.result));
    return done;
  }

 private:
  std::unique_ptr<io_engine> engine_;
  const std::function<void(std::uint64_t)>& watcher_;
};

}  // namespace

block_device::block_device(std::string path, access how, engine_choice engine, system_calls& calls)
    : path_(std::move(path)), engine_(engine), calls_(calls) {
  try {
    open(how);
    if (how == access::exclusive) claim_for_reading(fd_, path_);
    measure();
  } catch (...) {
    if (fd_ >= 0) ::close(fd_);
    throw;
  }
}

block_device::~block_device() { ::close(fd_); }

void block_device::fail(const std::string& why) const {
  throw device_error(fmt::format("{}: {}", path_, why));
}

void block_device::open(access how) {
  struct stat status {};
  if (::stat(path_.c_str(), &status) != 0) fail(std::strerror(errno));
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
    fail(fmt::format("is {}; metadata is read from a block device or a regular file",
                     in_words(status.st_mode)));
  is_block_device_ = S_ISBLK(status.st_mode);
  engine_ = resolve(engine_, is_block_device_);

  // O_NONBLOCK: should the name have become a pipe meanwhile, do not wait for its writer.
  int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  if (is_block_device_ && how == access::exclusive) flags |= O_EXCL;
  // A mapped device is written past the page cache, and so it has to be read.
  const bool direct = is_block_device_ || engine_ != engine_choice::sync;
  fd_ = ::open(path_.c_str(), direct ? flags | O_DIRECT : flags);
  // Some file systems know no O_DIRECT; block devices all do.
  if (fd_ < 0 && errno == EINVAL && !is_block_device_) fd_ = ::open(path_.c_str(), flags);
  if (fd_ < 0 && errno == EBUSY)
    fail(fmt::format("{}, or read the metadata snapshot of a live device (--metadata-snapshot)",
                     held_by_kernel));
  if (fd_ < 0) fail(std::strerror(errno));
}

void block_device::measure() {
  std::uint64_t bytes = 0;
  if (is_block_device_) {
    if (::ioctl(fd_, BLKGETSIZE64, &bytes) != 0)
      fail(fmt::format("cannot tell its size: {}", std::strerror(errno)));
  } else {
    struct stat status {};
    if (::fstat(fd_, &status) != 0) fail(std::strerror(errno));
    if (!S_ISREG(status.st_mode)) fail("changed its type while it was opened");
    bytes = static_cast<std::uint64_t>(status.st_size);
  }
  nr_blocks_ = bytes / block_size;
  if (nr_blocks_ == 0)
    fail(fmt::format("is too small: it has {} bytes, and metadata begins with a superblock of {}",
                     bytes, block_size));
}

std::unique_ptr<io_engine> block_device::make_engine() const {
  std::unique_ptr<io_engine> engine = persistent_data::make_engine(engine_, fd_, calls_);
  if (watcher_) engine = std::make_unique<watched_engine>(std::move(engine), watcher_);
  return engine;
}

unsigned block_device::nr_workers() const noexcept {
  return std::max(1u, std::thread::hardware_concurrency());
}

bool block_device::is_same_file(const std::string& path) const {
  return storage::of_descriptor(fd_).overlaps(storage::at(path));
}

bool block_device::is_same_file(int fd) const {
  return storage::of_descriptor(fd_).overlaps(storage::of_descriptor(fd));
}

}  // namespace persistent_data
