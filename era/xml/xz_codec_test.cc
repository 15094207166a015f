// SPDX-License-Identifier: GPL-3.0-or-later
// Xz alone: checksums and dictionaries.
#include "config.h"

#ifdef HAVE_LZMA

#include <gtest/gtest.h>
#include <lzma.h>

#include "era/testing/packed_text.h"

namespace era::xml {
namespace {

using test::packed;
using test::unpack_error;
using test::unpacked;

std::string xz_stream(std::string_view text, lzma_check check) {
  std::string stream(1000, '?');
  std::size_t size = 0;
  EXPECT_EQ(lzma_easy_buffer_encode(
                0, check, nullptr, reinterpret_cast<const std::uint8_t*>(text.data()), text.size(),
                reinterpret_cast<std::uint8_t*>(stream.data()), &size, stream.size()),
            LZMA_OK);
  stream.resize(size);
  return stream;
}

TEST(XzCompression, NeedsAChecksumInEachStream) {
  const std::string without = xz_stream("abc", LZMA_CHECK_NONE);
  const std::string refusal =
      "t: is compressed as xz without a checksum: damage to it would not be noticed; if you are "
      "sure of it, unpack it first, with xz -dc";
  EXPECT_EQ(unpack_error(compression::xz, without), refusal);
  for (const lzma_check check : {LZMA_CHECK_CRC32, LZMA_CHECK_CRC64, LZMA_CHECK_SHA256}) {
    const std::string with = xz_stream("abc", check);
    EXPECT_EQ(unpacked(compression::xz, with), "abc");
    EXPECT_EQ(unpack_error(compression::xz, with + without), refusal);
  }
}

// The block header follows the stream header of 12 bytes: its size, flags, the LZMA2 filter (0x21,
// 1, the dictionary's size), padding, and a CRC-32.
TEST(XzCompression, LimitsTheDictionary) {
  const auto with_dictionary = [](char size) {
    std::string stream = packed(compression::xz, "abc");
    const std::size_t header = (static_cast<std::size_t>(stream[12]) + 1) * 4;
    EXPECT_EQ(stream.substr(14, 2), "\x21\x01");
    stream[16] = size;
    pd::le32 crc;
    crc = lzma_crc32(reinterpret_cast<const std::uint8_t*>(stream.data()) + 12, header - 4, 0);
    std::memcpy(stream.data() + 12 + header - 4, &crc, sizeof crc);
    return stream;
  };
  EXPECT_EQ(unpacked(compression::xz, with_dictionary(30)), "abc");  // 128 MiB
  for (const char larger : {'\x1f', '\x20', '\x28'})
    EXPECT_EQ(unpack_error(compression::xz, with_dictionary(larger)),
              "t: is compressed as xz with a window of more than 128 MiB; unpack it first, "
              "with xz -dc");
}

}  // namespace
}  // namespace era::xml

#endif
