// SPDX-License-Identifier: GPL-3.0-or-later
// Only directories that may be read can be flushed by themselves.
#include "persistent-data/io/flush_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "persistent-data/io/unique_fd.h"

namespace persistent_data {

int flush_data(int fd, system_calls& calls) {
  while (calls.fdatasync(fd) != 0)
    if (errno != EINTR) return errno;
  return 0;
}

int flush_device(int fd, system_calls& calls) {
  while (calls.fsync(fd) != 0)
    if (errno != EINTR) return errno;
  return 0;
}

int flush_file(int fd, system_calls& calls) {
  const int error = flush_device(fd, calls);
  return error == EINVAL ? 0 : error;
}

int flush_directory(int fd, system_calls& calls) {
  const unique_fd readable(::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (readable) return flush_file(readable.get(), calls);
  ::sync();
  return 0;
}

int flush_directory_of(const std::string& path, system_calls& calls) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const unique_fd fd(
      ::open(parent.empty() ? "." : parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  return fd ? flush_directory(fd.get(), calls) : errno;
}

}  // namespace persistent_data
