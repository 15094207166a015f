// SPDX-License-Identifier: GPL-3.0-or-later
// Creates a file in TMPDIR or /tmp and removes its name at once.
#include "persistent-data/io/temp_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include <fmt/format.h>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/whole_transfer.h"

namespace persistent_data {
namespace {

std::string directory() {
  const char* name = std::getenv("TMPDIR");
  return name && *name ? name : "/tmp";
}

[[noreturn]] void fail_to_write(int error) {
  throw device_error(
      fmt::format("cannot write a temporary file in {}: {}; name another directory in TMPDIR",
                  directory(), std::strerror(error)));
}

}  // namespace

unique_fd make_unnamed_file() {
  std::string name = directory() + "/era_tools.XXXXXX";
  unique_fd fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd) fail_to_write(errno);
  ::unlink(name.c_str());
  return fd;
}

std::uint64_t temp_file::append(std::span<const std::byte> bytes) {
  const std::uint64_t begin = size_;
  if (const int error = write_whole(fd_.get(), bytes, begin, system_calls::real()); error != 0)
    fail_to_write(error);
  size_ += bytes.size();
  return begin;
}

void temp_file::read(std::uint64_t begin, std::span<std::byte> bytes) const {
  const int error = read_whole(fd_.get(), bytes, begin, system_calls::real());
  if (error != 0)
    throw device_error(fmt::format("cannot read a temporary file again: {}",
                                   error == ENODATA ? "it ended early" : std::strerror(error)));
}

}  // namespace persistent_data
