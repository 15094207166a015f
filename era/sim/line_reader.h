// SPDX-License-Identifier: GPL-3.0-or-later
// The lines of a script or a trace, from a file, a FIFO, a pipe or a terminal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "persistent-data/format/errors.h"

namespace era::sim {

namespace pd = persistent_data;

// For one thread.
class line_reader {
 public:
  static constexpr std::size_t longest_line = 1 << 16;  // bytes, without the newline

  // Called before each read. It waits until the descriptor, which may be one that does not block,
  // can be read, and may throw to end it all.
  using before_read = std::function<void(int fd)>;

  // path: "-" for standard input. Does not wait for a FIFO's writer; that is before_read's. Throws
  // device_error.
  line_reader(const std::string& path, before_read);
  ~line_reader();
  line_reader(const line_reader&) = delete;
  line_reader& operator=(const line_reader&) = delete;

  // Returns the next line without its newline, valid until the next call; nullopt at the end of the
  // input. The last line needs no newline. A line is returned as soon as it is there, whatever
  // follows it. Throws invalid_input if the line is too long or has a NUL byte (the next call goes
  // on after that line); device_error if the input cannot be read; and what before_read throws.
  std::optional<std::string_view> next();

  // For messages: the file's name, and the number of the last line, from 1; 0 before the first.
  const std::string& name() const noexcept { return name_; }
  std::uint64_t line_number() const noexcept { return line_number_; }

  // Bytes of the lines that were returned, and of the whole file; nullopt if that is not known.
  std::uint64_t bytes_done() const noexcept { return bytes_done_; }
  std::optional<std::uint64_t> bytes() const;

 private:
  bool read_more();
  std::size_t skip_line();
  [[noreturn]] void fail(const std::string& why) const;

  std::string name_;
  before_read before_read_;
  int fd_;
  std::string buffer_;
  std::size_t next_ = 0;  // in the buffer: the line that comes next
  bool at_end_ = false;
  std::uint64_t line_number_ = 0, bytes_done_ = 0;
};

}  // namespace era::sim
