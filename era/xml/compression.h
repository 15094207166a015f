// SPDX-License-Identifier: GPL-3.0-or-later
// Compressed XML, where the tools are built with Boost.Iostreams.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "era/xml/reader.h"

namespace era::xml {

enum class compression { none, gzip, xz, zstd };

std::string_view name(compression) noexcept;

// By the first bytes of a file: six are enough.
compression compression_by_content(std::string_view begin) noexcept;
// By the end of a file's name: .gz, .xz, .zst.
compression compression_by_name(std::string_view path) noexcept;

// What cannot be unpacked, or cannot be without Boost.Iostreams.
class compression_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The content of a compressed source. Reading throws compression_error where it is not what it
// should be, and what the source throws. name: for messages.
byte_source decompressed(compression, byte_source, const std::string& name);

using byte_sink = std::function<void(std::string_view)>;

// Takes text, and hands it compressed to a sink. Throws what the sink throws.
class compressor {
 public:
  // Throws compression_error where the tools are built without Boost.Iostreams. name: for messages.
  compressor(compression, byte_sink, const std::string& name);
  ~compressor();
  compressor(const compressor&) = delete;
  compressor& operator=(const compressor&) = delete;

  void write(std::string_view);
  // The end of the text; without it what was written is not whole.
  void finish();

 private:
  struct filter;
  byte_sink sink_;
  std::unique_ptr<filter> filter_;  // null: nothing is compressed
};

}  // namespace era::xml
