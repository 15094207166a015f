// SPDX-License-Identifier: GPL-3.0-or-later
// zstd by libzstd. The checksum of a frame is optional, and libzstd unpacks frames without one: so
// the header of each frame is looked at first, and a frame without a checksum is refused.
#include "config.h"
#include "era/xml/codec.h"

#ifdef HAVE_ZSTD

#include <zstd.h>
#include <zstd_errors.h>

#include <bit>
#include <new>

#include <fmt/format.h>

#include "era/xml/compression.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/format/le.h"

namespace era::xml {
namespace {

// A frame begins with its magic number (le32) and its descriptor, a byte whose bit 2 says that a
// checksum of the content follows the frame.
constexpr std::size_t frame_start = 5;
constexpr unsigned checksum_flag = 4;
// The magic numbers of skippable frames differ in their lowest four bits.
constexpr std::uint32_t skippable_magic = 0x184d2a50, skippable_mask = 0xfffffff0;

class zstd_decoder final : public decoder {
 public:
  explicit zstd_decoder(std::string name)
      : name_(std::move(name)), context_(::ZSTD_createDCtx(), ::ZSTD_freeDCtx) {
    if (!context_) throw std::bad_alloc();
    ::ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, std::countr_zero(max_window));
  }

  bool decode(codec_buffers& b, bool) override {
    if (between_frames_) {
      if (b.in_left < frame_start) return b.in_left == 0;
      require_checksum(b.in);
    }
    ZSTD_inBuffer in{b.in, b.in_left, 0};
    ZSTD_outBuffer out{b.out, b.out_left, 0};
    const std::size_t result = ::ZSTD_decompressStream(context_.get(), &out, &in);
    if (::ZSTD_isError(result)) fail(::ZSTD_getErrorCode(result));
    b = {b.in + in.pos, b.in_left - in.pos, b.out + out.pos, b.out_left - out.pos};
    between_frames_ = result == 0;
    return between_frames_;
  }

 private:
  void require_checksum(const char* begin) const {
    pd::le32 magic;
    std::memcpy(&magic, begin, sizeof magic);
    if ((magic & skippable_mask) == skippable_magic) return;
    if (magic != ZSTD_MAGICNUMBER) throw_damaged(name_, "zstd");
    if ((static_cast<unsigned char>(begin[4]) & checksum_flag) == 0)
      throw_without_checksum(name_, "zstd", "zstd -dc");
  }

  [[noreturn]] void fail(ZSTD_ErrorCode code) const {
    if (code == ZSTD_error_memory_allocation) throw std::bad_alloc();
    if (code == ZSTD_error_frameParameter_windowTooLarge)
      throw_window_too_large(name_, "zstd", "zstd -dc --long=31");
    throw_damaged(name_, "zstd");
  }

  std::string name_;
  std::unique_ptr<ZSTD_DCtx, decltype(&::ZSTD_freeDCtx)> context_;
  bool between_frames_ = true;
};

class zstd_encoder final : public encoder {
 public:
  explicit zstd_encoder(std::string name)
      : name_(std::move(name)), context_(::ZSTD_createCCtx(), ::ZSTD_freeCCtx) {
    if (!context_) throw std::bad_alloc();
    check(::ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 1));
  }

  bool encode(codec_buffers& b, bool last) override {
    ZSTD_inBuffer in{b.in, b.in_left, 0};
    ZSTD_outBuffer out{b.out, b.out_left, 0};
    const std::size_t left = check(
        ::ZSTD_compressStream2(context_.get(), &out, &in, last ? ZSTD_e_end : ZSTD_e_continue));
    b = {b.in + in.pos, b.in_left - in.pos, b.out + out.pos, b.out_left - out.pos};
    return last ? left == 0 : b.in_left == 0;
  }

 private:
  std::size_t check(std::size_t result) const {
    if (!::ZSTD_isError(result)) return result;
    if (::ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation) throw std::bad_alloc();
    throw pd::invalid_input(
        fmt::format("{}: cannot be packed as zstd: {}", name_, ::ZSTD_getErrorName(result)));
  }

  std::string name_;
  std::unique_ptr<ZSTD_CCtx, decltype(&::ZSTD_freeCCtx)> context_;
};

}  // namespace

std::unique_ptr<decoder> make_zstd_decoder(const std::string& name) {
  return std::make_unique<zstd_decoder>(name);
}

std::unique_ptr<encoder> make_zstd_encoder(const std::string& name) {
  return std::make_unique<zstd_encoder>(name);
}

}  // namespace era::xml

#else

namespace era::xml {

std::unique_ptr<decoder> make_zstd_decoder(const std::string&) { return nullptr; }
std::unique_ptr<encoder> make_zstd_encoder(const std::string&) { return nullptr; }

}  // namespace era::xml

#endif
