// SPDX-License-Identifier: GPL-3.0-or-later
// Opening, looking at the first bytes, and reading.
#include "era/xml/source.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "persistent-data/format/errors.h"
#include "persistent-data/format/le.h"
#include "persistent-data/io/storage.h"

namespace era::xml {
namespace {

// As much as tells binary metadata: its magic number is in bytes 32 to 39.
constexpr std::size_t bytes_to_look_at = 40;

bool is_metadata(std::string_view begin) {
  if (begin.size() < bytes_to_look_at) return false;
  pd::le64 magic;
  std::memcpy(&magic, begin.data() + offsetof(superblock, magic), sizeof magic);
  return magic == superblock_magic;
}

void wait_until_readable(int fd) {
  pollfd watched{fd, POLLIN, 0};
  ::poll(&watched, 1, -1);
}

}  // namespace

input_file::input_file(const std::string& path, before_read before)
    : name_(path == "-" ? "standard input" : path),
      before_read_(before ? std::move(before) : wait_until_readable) {
  // O_NONBLOCK: the opening of a FIFO does not wait for its writer; before_read does.
  fd_ = path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) fail(std::strerror(errno));
  try {
    look_at_begin();
  } catch (...) {
    if (fd_ != STDIN_FILENO) ::close(fd_);
    throw;
  }
}

input_file::~input_file() {
  if (fd_ != STDIN_FILENO) ::close(fd_);
}

void input_file::fail(const std::string& why) const {
  throw pd::device_error(fmt::format("{}: {}", name_, why));
}

void input_file::look_at_begin() {
  begin_.resize(bytes_to_look_at);
  std::size_t have = 0;
  while (have < begin_.size()) {
    const std::size_t got = read_fd(begin_.data() + have, begin_.size() - have);
    if (got == 0) break;
    have += got;
  }
  begin_.resize(have);
  if (is_metadata(begin_)) fail("is binary metadata, not XML; era_dump makes XML of it");
  content_ = [this](char* buffer, std::size_t size) { return read_raw(buffer, size); };
  if (const compression kind = compression_by_content(begin_); kind != compression::none)
    content_ = decompressed(kind, std::move(content_), name_);
}

bool input_file::is_same_file(const std::string& path) const {
  struct stat ours {};
  return ::fstat(fd_, &ours) == 0 && pd::storage::of(ours).overlaps(pd::storage::at(path));
}

std::optional<std::uint64_t> input_file::bytes() const {
  struct stat status {};
  if (::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) return {};
  return static_cast<std::uint64_t>(status.st_size);
}

std::size_t input_file::read_raw(char* buffer, std::size_t size) {
  if (begin_.empty()) return read_fd(buffer, size);
  const std::size_t now = std::min(size, begin_.size());
  std::memcpy(buffer, begin_.data(), now);
  begin_.erase(0, now);
  return now;
}

std::size_t input_file::read_fd(char* buffer, std::size_t size) {
  for (;;) {
    before_read_(fd_);
    const ssize_t got = ::read(fd_, buffer, size);
    if (got >= 0) {
      read_ += static_cast<std::uint64_t>(got);
      return static_cast<std::size_t>(got);
    }
    if (errno != EINTR && errno != EAGAIN) fail(std::strerror(errno));
  }
}

}  // namespace era::xml
