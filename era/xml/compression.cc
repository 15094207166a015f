// SPDX-License-Identifier: GPL-3.0-or-later
// The only place that knows of Boost.Iostreams.
#include "era/xml/compression.h"

#include <utility>

#include "config.h"

#ifdef HAVE_BOOST_IOSTREAMS
#include <boost/iostreams/concepts.hpp>
#include <boost/iostreams/filter/gzip.hpp>
#include <boost/iostreams/filter/lzma.hpp>
#include <boost/iostreams/filter/zstd.hpp>
#include <boost/iostreams/filtering_streambuf.hpp>
#endif

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
  return compression::none;
}

compression compression_by_name(std::string_view path) noexcept {
  if (path.ends_with(".gz")) return compression::gzip;
  if (path.ends_with(".xz")) return compression::xz;
  if (path.ends_with(".zst")) return compression::zstd;
  return compression::none;
}

#ifdef HAVE_BOOST_IOSTREAMS

namespace {

namespace io = boost::iostreams;

constexpr std::streamsize buffer_size = 1 << 17;

struct source_device : io::source {
  explicit source_device(byte_source source) : read_some(std::move(source)) {}

  std::streamsize read(char* to, std::streamsize size) {
    const std::size_t got = read_some(to, static_cast<std::size_t>(size));
    return got == 0 ? -1 : static_cast<std::streamsize>(got);
  }

  byte_source read_some;
};

struct sink_device : io::sink {
  explicit sink_device(const byte_sink* to) : sink(to) {}

  std::streamsize write(const char* text, std::streamsize size) {
    (*sink)({text, static_cast<std::size_t>(size)});
    return size;
  }

  const byte_sink* sink;
};

[[noreturn]] void cannot_be_unpacked(const std::string& name, compression kind) {
  throw compression_error(
      fmt::format("{}: is no whole {} file: it is truncated or damaged", name, xml::name(kind)));
}

}  // namespace

byte_source decompressed(compression kind, byte_source source, const std::string& name) {
  auto stream = std::make_shared<io::filtering_streambuf<io::input>>();
  if (kind == compression::gzip) stream->push(io::gzip_decompressor(), buffer_size);
  if (kind == compression::xz) stream->push(io::lzma_decompressor(), buffer_size);
  if (kind == compression::zstd) stream->push(io::zstd_decompressor(), buffer_size);
  stream->push(source_device(std::move(source)), buffer_size);
  return [stream, kind, name](char* to, std::size_t size) {
    try {
      return static_cast<std::size_t>(stream->sgetn(to, static_cast<std::streamsize>(size)));
    } catch (const std::ios_base::failure&) {  // also of the filters' own error classes
      cannot_be_unpacked(name, kind);
    }
  };
}

struct compressor::filter {
  io::filtering_streambuf<io::output> stream;
};

compressor::compressor(compression kind, byte_sink sink, const std::string&)
    : sink_(std::move(sink)) {
  if (kind == compression::none) return;
  filter_ = std::make_unique<filter>();
  if (kind == compression::gzip) filter_->stream.push(io::gzip_compressor(), buffer_size);
  if (kind == compression::xz) filter_->stream.push(io::lzma_compressor(), buffer_size);
  if (kind == compression::zstd) filter_->stream.push(io::zstd_compressor(), buffer_size);
  filter_->stream.push(sink_device(&sink_), buffer_size);
}

compressor::~compressor() {
  // What was not finished is not wanted: the filters must not hand on their last words.
  sink_ = [](std::string_view) {};
}

void compressor::write(std::string_view text) {
  if (!filter_) return sink_(text);
  filter_->stream.sputn(text.data(), static_cast<std::streamsize>(text.size()));
}

void compressor::finish() {
  if (filter_) io::close(filter_->stream);
}

#else

namespace {

[[noreturn]] void built_without(compression kind, const std::string& name, const char* instead) {
  throw compression_error(
      fmt::format("{}: {} is not known to this program, which is built without Boost.Iostreams; {}",
                  name, xml::name(kind), instead));
}

}  // namespace

byte_source decompressed(compression kind, byte_source, const std::string& name) {
  built_without(kind, name, "unpack the file first");
}

struct compressor::filter {};

compressor::compressor(compression kind, byte_sink sink, const std::string& name)
    : sink_(std::move(sink)) {
  if (kind != compression::none)
    built_without(kind, name, "take a name without that ending, and compress the file afterwards");
}

compressor::~compressor() = default;

void compressor::write(std::string_view text) { sink_(text); }

void compressor::finish() {}

#endif

}  // namespace era::xml
