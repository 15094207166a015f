// SPDX-License-Identifier: GPL-3.0-or-later
// One interface for the three compression libraries. compression.cc drives it; nothing else uses
// it. Each library has a file of its own: gzip_codec.cc, xz_codec.cc, zstd_codec.cc.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace era::xml {

// Bytes to take, and room for bytes. A codec moves the pointers forward by what it used.
struct codec_buffers {
  const char* in;
  std::size_t in_left;
  char* out;
  std::size_t out_left;
};

// Memory that an unpacker takes at most for the window of a file, in bytes. A damaged or hostile
// file may ask for gigabytes.
inline constexpr std::size_t max_window = std::size_t{1} << 27;

// Unpacks a sequence of members (gzip), streams (xz) or frames (zstd). For one thread.
class decoder {
 public:
  virtual ~decoder() = default;

  // Takes some input and gives some output. last: no input follows. Returns true if the input may
  // end at the place that was reached. A call that neither takes nor gives anything needs more
  // input. Throws invalid_input if the input is damaged, has no checksum, or needs too much memory;
  // std::bad_alloc.
  virtual bool decode(codec_buffers&, bool last) = 0;
};

// Packs one member, stream or frame, with a checksum. For one thread.
class encoder {
 public:
  virtual ~encoder() = default;

  // Takes some input and gives some output. last: no input follows. Returns true if all input was
  // taken and, with last, all output was given. Throws invalid_input, std::bad_alloc.
  virtual bool encode(codec_buffers&, bool last) = 0;
};

// name: of the file, for messages. All return null if the tools are built without the library.
std::unique_ptr<decoder> make_gzip_decoder(const std::string& name);
std::unique_ptr<decoder> make_xz_decoder(const std::string& name);
std::unique_ptr<decoder> make_zstd_decoder(const std::string& name);
std::unique_ptr<encoder> make_gzip_encoder(const std::string& name);
std::unique_ptr<encoder> make_xz_encoder(const std::string& name);
std::unique_ptr<encoder> make_zstd_encoder(const std::string& name);

// The errors of the decoders, in the same words for all formats. Each throws invalid_input. unpack:
// the command that unpacks such a file.
[[noreturn]] void throw_damaged(const std::string& name, const char* format);
[[noreturn]] void throw_without_checksum(const std::string& name, const char* format,
                                         const char* unpack);
[[noreturn]] void throw_window_too_large(const std::string& name, const char* format,
                                         const char* unpack);

}  // namespace era::xml
