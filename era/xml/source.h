// SPDX-License-Identifier: GPL-3.0-or-later
// The XML that a command reads: a file or standard input, unpacked if it is compressed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "era/xml/compression.h"
#include "persistent-data/io/input_stream.h"

namespace era::xml {

class input_file {
 public:
  // path: "-" for standard input. See input_stream. Reads the first bytes. Throws device_error,
  // invalid_input, and what before_read throws. instead_of_metadata: what a message advises if the
  // file is binary metadata.
  explicit input_file(const std::string& path, pd::input_stream::before_read = {},
                      std::string_view instead_of_metadata = "era_dump makes XML of it");
  input_file(const input_file&) = delete;
  input_file& operator=(const input_file&) = delete;

  // For messages.
  const std::string& name() const noexcept { return input_.name(); }

  // Returns true if writing to what is at path, or is open as fd, changes this file: it is the
  // same, or one lies on the other. Returns false if path is not there.
  bool overlaps(const std::string& path) const { return input_.overlaps(path); }
  bool overlaps(int fd) const { return input_.overlaps(fd); }

  // The size of the file as it is; nullopt if it is unknown.
  std::optional<std::uint64_t> bytes() const { return input_.bytes(); }
  // How much of it was read.
  std::uint64_t bytes_read() const noexcept { return read_; }

  // Up to size bytes of the XML; 0 at the end. Throws device_error, invalid_input.
  std::size_t read(char* buffer, std::size_t size) { return content_(buffer, size); }

 private:
  std::size_t read_raw(char* buffer, std::size_t size);
  std::size_t read_input(char* buffer, std::size_t size);
  void look_at_begin(std::string_view instead_of_metadata);

  pd::input_stream input_;
  std::string begin_;  // bytes that were looked at, and not handed out
  std::uint64_t read_ = 0;
  byte_source content_;
};

}  // namespace era::xml
