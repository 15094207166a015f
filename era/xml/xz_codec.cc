// SPDX-License-Identifier: GPL-3.0-or-later
// xz by liblzma, which verifies the check of each block. A stream may say that it has none: then a
// changed byte would not be noticed, and the stream is refused.
#include "config.h"
#include "era/xml/codec.h"

#ifdef HAVE_LZMA

#include <lzma.h>

#include <new>

#include <fmt/format.h>

#include "era/xml/compression.h"
#include "persistent-data/format/errors.h"

namespace era::xml {
namespace {

// Runs lzma_code on the buffers, and returns its result.
lzma_ret run(lzma_stream& s, codec_buffers& b, bool last) {
  s.next_in = reinterpret_cast<const std::uint8_t*>(b.in);
  s.avail_in = b.in_left;
  s.next_out = reinterpret_cast<std::uint8_t*>(b.out);
  s.avail_out = b.out_left;
  const lzma_ret result = ::lzma_code(&s, last ? LZMA_FINISH : LZMA_RUN);
  b = {reinterpret_cast<const char*>(s.next_in), s.avail_in, reinterpret_cast<char*>(s.next_out),
       s.avail_out};
  if (result == LZMA_MEM_ERROR) throw std::bad_alloc();
  return result;
}

class xz_decoder final : public decoder {
 public:
  explicit xz_decoder(std::string name) : name_(std::move(name)) {
    if (::lzma_stream_decoder(
            &stream_, max_window + max_window / 8,  // the window, and tables beside it
            LZMA_CONCATENATED | LZMA_TELL_NO_CHECK | LZMA_TELL_UNSUPPORTED_CHECK) != LZMA_OK)
      throw std::bad_alloc();
  }
  ~xz_decoder() override { ::lzma_end(&stream_); }

  bool decode(codec_buffers& b, bool last) override {
    if (ended_) return true;
    switch (run(stream_, b, last)) {
      case LZMA_OK:
      case LZMA_BUF_ERROR: return false;  // more input is needed
      case LZMA_STREAM_END: return ended_ = true;
      case LZMA_NO_CHECK:
      case LZMA_UNSUPPORTED_CHECK: throw_without_checksum(name_, "xz", "xz -dc");
      case LZMA_MEMLIMIT_ERROR: throw_window_too_large(name_, "xz", "xz -dc");
      default: throw_damaged(name_, "xz");
    }
  }

 private:
  std::string name_;
  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool ended_ = false;
};

class xz_encoder final : public encoder {
 public:
  explicit xz_encoder(std::string name) : name_(std::move(name)) {
    if (::lzma_easy_encoder(&stream_, LZMA_PRESET_DEFAULT, LZMA_CHECK_CRC64) != LZMA_OK)
      throw std::bad_alloc();
  }
  ~xz_encoder() override { ::lzma_end(&stream_); }

  bool encode(codec_buffers& b, bool last) override {
    const lzma_ret result = run(stream_, b, last);
    if (result == LZMA_STREAM_END) return true;
    if (result != LZMA_OK && result != LZMA_BUF_ERROR)
      throw pd::invalid_input(fmt::format("{}: cannot be packed as xz: liblzma's error {}", name_,
                                          static_cast<int>(result)));
    return !last && b.in_left == 0;
  }

 private:
  std::string name_;
  lzma_stream stream_ = LZMA_STREAM_INIT;
};

}  // namespace

std::unique_ptr<decoder> make_xz_decoder(const std::string& name) {
  return std::make_unique<xz_decoder>(name);
}

std::unique_ptr<encoder> make_xz_encoder(const std::string& name) {
  return std::make_unique<xz_encoder>(name);
}

}  // namespace era::xml

#else

namespace era::xml {

std::unique_ptr<decoder> make_xz_decoder(const std::string&) { return nullptr; }
std::unique_ptr<encoder> make_xz_encoder(const std::string&) { return nullptr; }

}  // namespace era::xml

#endif
