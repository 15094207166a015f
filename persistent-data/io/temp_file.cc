// SPDX-License-Identifier: GPL-3.0-or-later
// Creates a file in TMPDIR or /tmp and removes its name at once. Appends with write(), reads with
// pread().
#include "persistent-data/io/temp_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include <fmt/format.h>

#include "persistent-data/format/errors.h"

namespace persistent_data {
namespace {

std::string directory() {
  const char* name = std::getenv("TMPDIR");
  return name && *name ? name : "/tmp";
}

[[noreturn]] void fail_to_write() {
  const int error = errno;
  throw device_error(
      fmt::format("cannot write a temporary file in {}: {}; name another directory in TMPDIR",
                  directory(), std::strerror(error)));
}

}  // namespace

unique_fd make_unnamed_file() {
  std::string name = directory() + "/era_tools.XXXXXX";
  unique_fd fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd) fail_to_write();
  ::unlink(name.c_str());
  return fd;
}

std::uint64_t temp_file::append(std::span<const std::byte> bytes) {
  const std::uint64_t begin = size_;
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_to_write();
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    size_ += static_cast<std::uint64_t>(written);
  }
  return begin;
}

void temp_file::read(std::uint64_t begin, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t got = ::pread(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(begin));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      throw device_error(fmt::format("cannot read a temporary file again: {}",
                                     got < 0 ? std::strerror(errno) : "it ended early"));
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    begin += static_cast<std::uint64_t>(got);
  }
}

}  // namespace persistent_data
