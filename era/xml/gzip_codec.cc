// SPDX-License-Identifier: GPL-3.0-or-later
// gzip by zlib, which verifies the CRC-32 and the length of each member.
#include "config.h"
#include "era/xml/codec.h"

#ifdef HAVE_ZLIB

#define ZLIB_CONST  // next_in points to const
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <new>

#include "era/xml/compression.h"

namespace era::xml {
namespace {

constexpr int gzip_window = 15 + 16;  // the largest window; a gzip header and trailer
constexpr int default_memory = 8;

// zlib counts bytes in an unsigned int.
uInt clamped(std::size_t bytes) {
  return static_cast<uInt>(std::min<std::size_t>(bytes, std::numeric_limits<uInt>::max()));
}

// Runs `call` on the buffers, and returns its result.
template <class Call>
int run(z_stream& z, codec_buffers& b, Call call) {
  const uInt in = clamped(b.in_left), out = clamped(b.out_left);
  z.next_in = reinterpret_cast<const Bytef*>(b.in);
  z.avail_in = in;
  z.next_out = reinterpret_cast<Bytef*>(b.out);
  z.avail_out = out;
  const int result = call(&z);
  b.in += in - z.avail_in;
  b.in_left -= in - z.avail_in;
  b.out += out - z.avail_out;
  b.out_left -= out - z.avail_out;
  if (result == Z_MEM_ERROR) throw std::bad_alloc();
  return result;
}

class gzip_decoder final : public decoder {
 public:
  explicit gzip_decoder(std::string name) : name_(std::move(name)) {
    if (::inflateInit2(&z_, gzip_window) != Z_OK) throw std::bad_alloc();
  }
  ~gzip_decoder() override { ::inflateEnd(&z_); }

  bool decode(codec_buffers& b, bool) override {
    if (b.in_left == 0 && between_members_) return true;
    if (between_members_) ::inflateReset(&z_);
    const int result = run(z_, b, [](z_stream* z) { return ::inflate(z, Z_NO_FLUSH); });
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
      throw_damaged(name_, "gzip");
    between_members_ = result == Z_STREAM_END;
    return between_members_;
  }

 private:
  std::string name_;
  z_stream z_{};
  bool between_members_ = false;
};

class gzip_encoder final : public encoder {
 public:
  gzip_encoder() {
    if (::deflateInit2(&z_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, gzip_window, default_memory,
                       Z_DEFAULT_STRATEGY) != Z_OK)
      throw std::bad_alloc();
  }
  ~gzip_encoder() override { ::deflateEnd(&z_); }

  bool encode(codec_buffers& b, bool last) override {
    // Z_BUF_ERROR: there was nothing to do. No other error is possible.
    const int result =
        run(z_, b, [&](z_stream* z) { return ::deflate(z, last ? Z_FINISH : Z_NO_FLUSH); });
    return last ? result == Z_STREAM_END : b.in_left == 0;
  }

 private:
  z_stream z_{};
};

}  // namespace

std::unique_ptr<decoder> make_gzip_decoder(const std::string& name) {
  return std::make_unique<gzip_decoder>(name);
}

std::unique_ptr<encoder> make_gzip_encoder(const std::string&) {
  return std::make_unique<gzip_encoder>();
}

}  // namespace era::xml

#else

namespace era::xml {

std::unique_ptr<decoder> make_gzip_decoder(const std::string&) { return nullptr; }
std::unique_ptr<encoder> make_gzip_encoder(const std::string&) { return nullptr; }

}  // namespace era::xml

#endif
