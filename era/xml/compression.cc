// SPDX-License-Identifier: GPL-3.0-or-later
// Drives the codecs: fills their input, hands on their output, and finds truncated input.
#include "era/xml/compression.h"

#include <cassert>
#include <cstring>
#include <utility>
#include <vector>

#include "era/xml/codec.h"

namespace era::xml {

using namespace std::string_view_literals;

std::string_view name(compression c) noexcept {
  switch (c) {
    case compression::none: return "none";
    case compression::gzip: return "gzip";
    case compression::xz: return "xz";
    case compression::zstd: return "zstd";
  }
  return "";
}

compression compression_by_content(std::string_view begin) noexcept {
  if (begin.starts_with("\x1f\x8b"sv)) return compression::gzip;
  if (begin.starts_with("\xfd"
                        "7zXZ\0"sv))
    return compression::xz;
  if (begin.starts_with("\x28\xb5\x2f\xfd"sv)) return compression::zstd;
  // A skippable frame of zstd: the first byte is 0x50 to 0x5f.
  if (begin.size() >= 4 && (begin[0] & 0xf0) == 0x50 && begin.substr(1, 3) == "\x2a\x4d\x18"sv)
    return compression::zstd;
  return compression::none;
}

compression compression_by_name(std::string_view path) noexcept {
  if (path.ends_with(".gz")) return compression::gzip;
  if (path.ends_with(".xz")) return compression::xz;
  if (path.ends_with(".zst")) return compression::zstd;
  return compression::none;
}

void throw_damaged(const std::string& name, const char* format) {
  throw pd::invalid_input(
      fmt::format("{}: is no whole {} file: it is truncated or damaged", name, format));
}

void throw_without_checksum(const std::string& name, const char* format, const char* unpack) {
  throw pd::invalid_input(
      fmt::format("{}: is compressed as {} without a checksum: damage to it would not be noticed; "
                  "if you are sure of it, unpack it first, with {}",
                  name, format, unpack));
}

void throw_window_too_large(const std::string& name, const char* format, const char* unpack) {
  throw pd::invalid_input(
      fmt::format("{}: is compressed as {} with a window of more than {} MiB; unpack it first, "
                  "with {}",
                  name, format, max_window >> 20, unpack));
}

namespace {

constexpr std::size_t buffer_size = 1 << 17;

[[noreturn]] void throw_built_without(compression kind, const std::string& name,
                                      const char* instead) {
  const char* library = kind == compression::gzip ? "zlib"
                        : kind == compression::xz ? "liblzma"
                                                  : "libzstd";
  throw pd::invalid_input(
      fmt::format("{}: {} is not known to this program, which is built without {}; {}", name,
                  xml::name(kind), library, instead));
}

std::unique_ptr<decoder> make_decoder(compression kind, const std::string& name) {
  switch (kind) {
    case compression::none: break;
    case compression::gzip: return make_gzip_decoder(name);
    case compression::xz: return make_xz_decoder(name);
    case compression::zstd: return make_zstd_decoder(name);
  }
  return nullptr;
}

std::unique_ptr<encoder> make_encoder(compression kind, const std::string& name) {
  switch (kind) {
    case compression::none: break;
    case compression::gzip: return make_gzip_encoder(name);
    case compression::xz: return make_xz_encoder(name);
    case compression::zstd: return make_zstd_encoder(name);
  }
  return nullptr;
}

class unpacker {
 public:
  unpacker(std::unique_ptr<decoder> d, byte_source source, compression kind, std::string name)
      : decoder_(std::move(d)), source_(std::move(source)), kind_(kind), name_(std::move(name)) {}

  std::size_t read(char* to, std::size_t size) {
    for (bool needs_input = in_left_ == 0; size > 0;) {
      if (needs_input && !ended_) fill();
      codec_buffers b{in_.data() + in_begin_, in_left_, to, size};
      const bool may_end = decoder_->decode(b, ended_);
      const bool moved = b.in_left < in_left_ || b.out_left < size;
      in_begin_ += in_left_ - b.in_left;
      in_left_ = b.in_left;
      if (b.out_left < size) return size - b.out_left;
      if (ended_ && in_left_ == 0 && may_end) return 0;
      // The input is not at an end of the format, and there is no more of it.
      if (ended_ && !moved) throw_damaged(name_, xml::name(kind_).data());
      needs_input = in_left_ == 0 || !moved;
    }
    return 0;
  }

 private:
  // Moves what is left to the front, and reads after it.
  void fill() {
    std::memmove(in_.data(), in_.data() + in_begin_, in_left_);
    in_begin_ = 0;
    assert(in_left_ < in_.size());
    const std::size_t got = source_(in_.data() + in_left_, in_.size() - in_left_);
    in_left_ += got;
    ended_ = got == 0;
  }

  std::unique_ptr<decoder> decoder_;
  byte_source source_;
  compression kind_;
  std::string name_;
  std::vector<char> in_ = std::vector<char>(buffer_size);
  std::size_t in_begin_ = 0, in_left_ = 0;
  bool ended_ = false;
};

}  // namespace

byte_source decompressed(compression kind, byte_source source, const std::string& name) {
  auto made = make_decoder(kind, name);
  if (!made) throw_built_without(kind, name, "unpack the file first");
  auto state = std::make_shared<unpacker>(std::move(made), std::move(source), kind, name);
  return [state](char* to, std::size_t size) { return state->read(to, size); };
}

compressor::compressor(compression kind, byte_sink sink, const std::string& name)
    : sink_(std::move(sink)) {
  if (kind == compression::none) return;
  encoder_ = make_encoder(kind, name);
  if (!encoder_)
    throw_built_without(kind, name,
                        "take a name without that ending, and compress the file afterwards");
  packed_.resize(buffer_size);
}

// An output that was not finished gets no end.
compressor::~compressor() = default;

void compressor::write(std::string_view text) {
  if (encoder_)
    encode(text, false);
  else
    sink_(text);
}

void compressor::finish() {
  if (!encoder_) return;
  encode({}, true);
  if (used_ > 0) hand_on();
}

void compressor::encode(std::string_view text, bool last) {
  codec_buffers b{text.data(), text.size(), nullptr, 0};
  for (bool done = false; !done;) {
    b.out = packed_.data() + used_;
    b.out_left = packed_.size() - used_;
    done = encoder_->encode(b, last);
    used_ = packed_.size() - b.out_left;
    if (used_ == packed_.size()) hand_on();
  }
}

void compressor::hand_on() {
  const std::size_t bytes = std::exchange(used_, 0);
  sink_({packed_.data(), bytes});
}

}  // namespace era::xml
