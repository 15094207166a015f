// SPDX-License-Identifier: GPL-3.0-or-later
// An input that is read once, from begin to end: a file, a FIFO, a device, or standard input.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "persistent-data/io/unique_fd.h"

namespace persistent_data {

// For one thread.
class input_stream {
 public:
  // Called before each read. It waits until the descriptor, which may be one that does not block,
  // can be read, and may throw to end the reading.
  using before_read = std::function<void(int fd)>;

  // path: "-" for standard input, which stays open. Without a before_read, poll waits. Does not
  // wait for a FIFO's writer; before_read does. Throws device_error if the file cannot be opened.
  explicit input_stream(const std::string& path, before_read = {});

  // For messages.
  const std::string& name() const noexcept { return name_; }

  // The size of the file as it is; nullopt unless it is a regular file.
  std::optional<std::uint64_t> bytes() const;

  // Returns true if writing to the file at path, or to what is open as fd, changes this input: they
  // are the same, or one lies on the other (see storage.h). Returns false if path is not there.
  bool overlaps(const std::string& path) const;
  bool overlaps(int fd) const;

  // Reads up to size bytes, which is above 0, as soon as there is one. Returns how many; 0 at the
  // end of the input; -1 with errno if the read fails, which is never EINTR or EAGAIN. Throws what
  // before_read throws; nothing is lost then.
  ssize_t read(char* buffer, std::size_t size);

  // Throws device_error: the name, and why.
  [[noreturn]] void fail(std::string_view why) const;

 private:
  std::string name_;
  before_read before_read_;
  unique_fd own_;  // none for standard input
  int fd_;
};

}  // namespace persistent_data
