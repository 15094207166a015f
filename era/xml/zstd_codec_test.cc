// SPDX-License-Identifier: GPL-3.0-or-later
// Zstd alone: checksums, windows and skippable frames.
#include "config.h"

#ifdef HAVE_ZSTD

#include <gtest/gtest.h>
#include <zstd.h>

#include <memory>

#include "era/testing/packed_text.h"
#include "persistent-data/format/le.h"

namespace era::xml {
namespace {

using test::packed;
using test::unpack_error;
using test::unpacked;

// A frame of libzstd with parameters that the tools do not use.
std::string zstd_frame(std::string_view text, bool checksum, int window_log = 0) {
  const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(),
                                                                     ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, checksum);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_windowLog, window_log);
  std::string frame(1000, '?');
  ZSTD_inBuffer in{text.data(), text.size(), 0};
  ZSTD_outBuffer out{frame.data(), frame.size(), 0};
  // In two steps: a frame that knows its size needs no larger window.
  ZSTD_compressStream2(context.get(), &out, &in, ZSTD_e_continue);
  EXPECT_EQ(ZSTD_compressStream2(context.get(), &out, &in, ZSTD_e_end), 0u);
  frame.resize(out.pos);
  return frame;
}

std::string skippable_frame(char kind, std::string_view content) {
  pd::le32 size;
  size = static_cast<std::uint32_t>(content.size());
  return kind + std::string("\x2a\x4d\x18", 3) +
         std::string(reinterpret_cast<const char*>(&size), sizeof size) + std::string(content);
}

TEST(ZstdCompression, NeedsAChecksumInEachFrame) {
  const std::string without = zstd_frame("abc", false), with = zstd_frame("abc", true);
  const std::string refusal =
      "t: is compressed as zstd without a checksum: damage to it would not be noticed; if you are "
      "sure of it, unpack it first, with zstd -dc";
  EXPECT_EQ(unpacked(compression::zstd, with), "abc");
  EXPECT_EQ(unpack_error(compression::zstd, without), refusal);
  EXPECT_EQ(unpack_error(compression::zstd, with + without), refusal);
  EXPECT_EQ(unpack_error(compression::zstd, skippable_frame('\x50', "x") + without), refusal);
}

TEST(ZstdCompression, SkipsSkippableFrames) {
  const std::string frame = packed(compression::zstd, "abc");
  for (const char kind : {'\x50', '\x57', '\x5f'})
    for (const std::string& skipped :
         {skippable_frame(kind, ""), skippable_frame(kind, std::string(300000, '\x28'))}) {
      EXPECT_EQ(compression_by_content(skipped), compression::zstd);
      EXPECT_EQ(unpacked(compression::zstd, skipped + frame + skipped + skipped + frame + skipped),
                "abcabc");
      EXPECT_NE(unpack_error(compression::zstd, frame + skipped.substr(0, skipped.size() - 1)), "");
    }
}

TEST(ZstdCompression, LimitsTheWindow) {
  EXPECT_EQ(unpacked(compression::zstd, zstd_frame("abc", true, 27)), "abc");
  EXPECT_EQ(unpack_error(compression::zstd, zstd_frame("abc", true, 28)),
            "t: is compressed as zstd with a window of more than 128 MiB; unpack it first, "
            "with zstd -dc --long=31");
}

}  // namespace
}  // namespace era::xml

#endif
