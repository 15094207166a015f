// SPDX-License-Identifier: GPL-3.0-or-later
// The XML that a command reads: a file or standard input, unpacked if it is compressed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "era/xml/compression.h"

namespace era::xml {

class input_file {
 public:
  // Called before each read with the descriptor, which may be one that does not block (a FIFO is
  // opened so): it waits until the descriptor can be read, and may throw to end it all. Without one
  // poll waits.
  using before_read = std::function<void(int fd)>;

  // path: "-" for standard input. Reads the first bytes. Throws device_error, invalid_input.
  explicit input_file(const std::string& path, before_read = {});
  ~input_file();
  input_file(const input_file&) = delete;
  input_file& operator=(const input_file&) = delete;

  // For messages.
  const std::string& name() const noexcept { return name_; }

  // Returns true if writing to what is at path changes this file: it is the same, or one lies on
  // the other. Returns false if path is not there.
  bool is_same_file(const std::string& path) const;

  // The size of the file as it is; nullopt if it is unknown.
  std::optional<std::uint64_t> bytes() const;
  // How much of it was read.
  std::uint64_t bytes_read() const noexcept { return read_; }

  // Up to size bytes of the XML; 0 at the end. Throws device_error, invalid_input.
  std::size_t read(char* buffer, std::size_t size) { return content_(buffer, size); }

 private:
  std::size_t read_raw(char* buffer, std::size_t size);
  std::size_t read_fd(char* buffer, std::size_t size);
  void look_at_begin();
  [[noreturn]] void fail(const std::string& why) const;

  std::string name_, begin_;  // begin_: bytes that were looked at, and not handed out
  before_read before_read_;
  int fd_ = -1;
  std::uint64_t read_ = 0;
  byte_source content_;
};

}  // namespace era::xml
