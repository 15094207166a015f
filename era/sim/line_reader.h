// SPDX-License-Identifier: GPL-3.0-or-later
// The lines of a script or a trace, from a file, a FIFO, a pipe or a terminal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "persistent-data/io/input_stream.h"

namespace era::sim {

namespace pd = persistent_data;

// For one thread.
class line_reader {
 public:
  static constexpr std::size_t longest_line = 1 << 16;  // bytes, without the newline

  // path: "-" for standard input. See input_stream. Throws device_error.
  line_reader(const std::string& path, pd::input_stream::before_read);

  // Returns the next line without its newline, valid until the next call; nullopt at the end of the
  // input. The last line needs no newline. A line is returned as soon as it is there, whatever
  // follows it. Throws invalid_input if the line is too long or has a NUL byte (the next call goes
  // on after that line); device_error if the input cannot be read; and what before_read throws.
  std::optional<std::string_view> next();

  // For messages: the file's name, and the number of the last line, from 1; 0 before the first.
  const std::string& name() const noexcept { return input_.name(); }
  std::uint64_t line_number() const noexcept { return line_number_; }
  // Returns both: "script:12".
  std::string place() const;

  // Bytes of the lines that were returned, and of the whole file; nullopt if that is not known.
  std::uint64_t bytes_done() const noexcept { return bytes_done_; }
  std::optional<std::uint64_t> bytes() const { return input_.bytes(); }

 private:
  bool read_more();
  std::size_t skip_line();

  pd::input_stream input_;
  std::string buffer_;
  std::size_t next_ = 0;  // in the buffer: the line that comes next
  bool at_end_ = false;
  std::uint64_t line_number_ = 0, bytes_done_ = 0;
};

}  // namespace era::sim
