// SPDX-License-Identifier: GPL-3.0-or-later
// Reads 64 KiB at a time into a buffer until it holds a whole line. The rest of a line that is too
// long is skipped without being kept.
#include "era/sim/line_reader.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "persistent-data/format/errors.h"

namespace era::sim {

line_reader::line_reader(const std::string& path, pd::input_stream::before_read before)
    : input_(path, std::move(before)) {}

// Returns false at the end of the input.
bool line_reader::read_more() {
  constexpr std::size_t bytes_per_read = 1 << 16;
  if (at_end_) return false;
  buffer_.erase(0, std::exchange(next_, 0));
  const std::size_t have = buffer_.size();
  buffer_.resize(have + bytes_per_read);
  ssize_t got = -1;
  try {
    got = input_.read(buffer_.data() + have, bytes_per_read);
  } catch (...) {
    buffer_.resize(have);
    throw;
  }
  const int error = errno;
  buffer_.resize(have + static_cast<std::size_t>(got > 0 ? got : 0));
  if (got < 0) input_.fail(fmt::format("cannot be read: {}", std::strerror(error)));
  at_end_ = got == 0;
  return !at_end_;
}

std::string line_reader::place() const { return fmt::format("{}:{}", name(), line_number_); }

std::optional<std::string_view> line_reader::next() {
  std::size_t newline = buffer_.find('\n', next_);
  while (newline == buffer_.npos && buffer_.size() - next_ <= longest_line) {
    const std::size_t searched = buffer_.size() - next_;
    if (!read_more()) break;
    newline = buffer_.find('\n', next_ + searched);
  }
  if (newline == buffer_.npos && next_ == buffer_.size()) return {};
  ++line_number_;
  const std::string_view line = std::string_view(buffer_).substr(next_, newline - next_);
  if (line.size() > longest_line) {
    bytes_done_ += skip_line();
    throw pd::invalid_input(fmt::format("the line is longer than {} bytes", longest_line));
  }
  const std::size_t with_newline = line.size() + (newline != buffer_.npos);
  next_ += with_newline;
  bytes_done_ += with_newline;
  if (line.find('\0') != line.npos)
    throw pd::invalid_input("the line has a NUL byte: it is no text");
  return line;
}

// Up to the newline that ends the line, in whatever number of reads. Returns how many bytes.
std::size_t line_reader::skip_line() {
  std::size_t skipped = 0;
  for (;;) {
    const std::size_t newline = buffer_.find('\n', next_);
    const std::size_t end = newline == buffer_.npos ? buffer_.size() : newline + 1;
    skipped += end - next_;
    next_ = end;
    if (newline != buffer_.npos || !read_more()) return skipped;
  }
}

}  // namespace era::sim
