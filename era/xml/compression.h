// SPDX-License-Identifier: GPL-3.0-or-later
// Compressed XML: gzip if the tools are built with zlib, xz with liblzma, zstd with libzstd.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "era/xml/reader.h"
#include "persistent-data/format/errors.h"

namespace era::xml {

namespace pd = persistent_data;

enum class compression { none, gzip, xz, zstd };

std::string_view name(compression) noexcept;

// By the first bytes of a file: six are enough. A file that begins with a skippable frame of zstd
// is a zstd file.
compression compression_by_content(std::string_view begin) noexcept;
// By the end of a file's name: .gz, .xz, .zst.
compression compression_by_name(std::string_view path) noexcept;

// The content of a compressed source: members of gzip, streams of xz or frames of zstd up to the
// end of the source. Throws invalid_input if the tools are built without the format. Reading throws
// invalid_input if the source is truncated, is damaged, has no checksum, or needs more than 128 MiB
// for its window; and it throws what the source throws. The content is known to be right only when
// the end has been read. name: for messages.
byte_source decompressed(compression, byte_source, const std::string& name);

class encoder;

using byte_sink = std::function<void(std::string_view)>;

// Takes text, and hands it compressed, with a checksum, to a sink. Each call throws what the sink
// throws; afterwards the compressor can only be destroyed.
class compressor {
 public:
  // Throws invalid_input if the tools are built without the format. name: for messages.
  compressor(compression, byte_sink, const std::string& name);
  ~compressor();
  compressor(const compressor&) = delete;
  compressor& operator=(const compressor&) = delete;

  void write(std::string_view);
  // The end of the text; without it what was written is not whole. When it returns, the sink has
  // everything.
  void finish();

 private:
  void encode(std::string_view, bool last);
  void hand_on();

  byte_sink sink_;
  std::unique_ptr<encoder> encoder_;  // null: nothing is compressed
  std::vector<char> packed_;          // its first used_ bytes are not handed on yet
  std::size_t used_ = 0;
};

}  // namespace era::xml
