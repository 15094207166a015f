// SPDX-License-Identifier: GPL-3.0-or-later
// Packs in pieces, and unpacks without a file.
#include "era/testing/packed_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "persistent-data/format/errors.h"

#include "config.h"

namespace era::xml::test {

std::string packed(compression kind, const std::string& text) {
  std::string result;
  compressor packer(
      kind, [&](std::string_view piece) { result += piece; }, "t");
  for (std::size_t at = 0; at < text.size(); at += 100000)
    packer.write(std::string_view(text).substr(at, 100000));
  packer.finish();
  return result;
}

std::string some_text() {
  std::string text;
  std::uint32_t x = 1;
  for (int i = 0; i < 100000; ++i)
    text +=
        fmt::format("<era block=\"{}\" era=\"{}\"/>\n", i, (x = x * 1664525 + 1013904223) >> 24);
  return text;
}

const std::vector<library> libraries = {
#ifdef HAVE_ZLIB
    {compression::gzip, "zlib", true},
#else
    {compression::gzip, "zlib", false},
#endif
#ifdef HAVE_LZMA
    {compression::xz, "liblzma", true},
#else
    {compression::xz, "liblzma", false},
#endif
#ifdef HAVE_ZSTD
    {compression::zstd, "libzstd", true},
#else
    {compression::zstd, "libzstd", false},
#endif
};

std::vector<compression> known_formats() {
  std::vector<compression> there;
  for (const library& l : libraries)
    if (l.is_there) there.push_back(l.kind);
  return there;
}

std::string unpacked(compression kind, std::string_view content) {
  const byte_source source = [content](char* to, std::size_t size) mutable {
    size = std::min(size, content.size());
    std::memcpy(to, content.data(), size);
    content.remove_prefix(size);
    return size;
  };
  const byte_source text = decompressed(kind, source, "t");
  std::string result, buffer(5000, '?');
  while (const std::size_t got = text(buffer.data(), buffer.size())) result.append(buffer, 0, got);
  return result;
}

std::string unpack_error(compression kind, std::string_view content) {
  try {
    unpacked(kind, content);
    return "";
  } catch (const pd::invalid_input& e) {
    return e.what();
  }
}

}  // namespace era::xml::test
