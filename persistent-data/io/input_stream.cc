// SPDX-License-Identifier: GPL-3.0-or-later
// Opens an input without waiting, and reads it after before_read has waited for its next bytes.
#include "persistent-data/io/input_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/storage.h"

namespace persistent_data {
namespace {

void wait_until_readable(int fd) {
  pollfd watched{fd, POLLIN, 0};
  ::poll(&watched, 1, -1);
}

}  // namespace

input_stream::input_stream(const std::string& path, before_read before)
    : name_(path == "-" ? "standard input" : path),
      before_read_(before ? std::move(before) : wait_until_readable),
      fd_(STDIN_FILENO) {
  if (path == "-") return;
  // O_NONBLOCK: the opening of a FIFO does not wait for its writer; before_read does.
  own_ = unique_fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!own_) fail(std::strerror(errno));
  fd_ = own_.get();
}

std::optional<std::uint64_t> input_stream::bytes() const {
  struct stat status {};
  if (::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) return {};
  return static_cast<std::uint64_t>(status.st_size);
}

bool input_stream::overlaps(const std::string& path) const {
  return storage::of_descriptor(fd_).overlaps(storage::at(path));
}

bool input_stream::overlaps(int fd) const {
  return storage::of_descriptor(fd_).overlaps(storage::of_descriptor(fd));
}

ssize_t input_stream::read(char* buffer, std::size_t size) {
  ssize_t got = -1;
  do {
    before_read_(fd_);
    got = ::read(fd_, buffer, size);
  } while (got < 0 && (errno == EINTR || errno == EAGAIN));
  return got;
}

void input_stream::fail(std::string_view why) const {
  throw device_error(fmt::format("{}: {}", name_, why));
}

}  // namespace persistent_data
