// SPDX-License-Identifier: GPL-3.0-or-later
// Every format packs and unpacks, and tells damage, truncation and bytes after the end.
#include "era/xml/compression.h"

#include <gtest/gtest.h>

#include <exception>
#include <random>

#include "era/testing/packed_text.h"

namespace era::xml {
namespace {

using test::known_formats;
using test::packed;
using test::some_text;
using test::unpack_error;
using test::unpacked;

TEST(XmlCompression, IsKnownByContentAndByName) {
  EXPECT_EQ(compression_by_content(""), compression::none);
  EXPECT_EQ(compression_by_content("\x1f"), compression::none);
  EXPECT_EQ(compression_by_content("<superblock>"), compression::none);
  EXPECT_EQ(compression_by_content("\x1f\x8b\x08"), compression::gzip);
  EXPECT_EQ(compression_by_content(std::string_view("\xfd"
                                                    "7zXZ\0",
                                                    6)),
            compression::xz);
  EXPECT_EQ(compression_by_content("\x28\xb5\x2f\xfd"), compression::zstd);
  EXPECT_EQ(compression_by_name("x.xml"), compression::none);
  EXPECT_EQ(compression_by_name(""), compression::none);
  EXPECT_EQ(compression_by_name("x.xml.gz"), compression::gzip);
  EXPECT_EQ(compression_by_name("x.xz"), compression::xz);
  EXPECT_EQ(compression_by_name("x.zst"), compression::zstd);
  EXPECT_EQ(compression_by_name("x.gz.xml"), compression::none);
}

TEST(XmlCompression, NonePassesTheTextOn) { EXPECT_EQ(packed(compression::none, "abc"), "abc"); }

// One byte at a time, in and out.
TEST(XmlCompression, UnpacksFromAnyPieces) {
  const std::string text = some_text().substr(0, 20000);
  for (const compression kind : known_formats()) {
    SCOPED_TRACE(name(kind));
    const std::string two = packed(kind, text) + packed(kind, text);
    std::string_view content = two;
    const byte_source bytes = decompressed(
        kind,
        [&](char* to, std::size_t) -> std::size_t {
          if (content.empty()) return 0;
          *to = content.front();
          content.remove_prefix(1);
          return 1;
        },
        "t");
    std::string result;
    char c;
    while (bytes(&c, 1) == 1) result += c;
    EXPECT_TRUE(result == text + text);
    EXPECT_EQ(bytes(&c, 1), 0u);  // the end stays the end
  }
}

TEST(XmlCompression, EveryTruncationIsAnError) {
  const std::string text = some_text().substr(0, 5000);
  for (const compression kind : known_formats()) {
    const std::string content = packed(kind, text);
    for (std::size_t size = 1; size < content.size(); ++size)
      ASSERT_EQ(unpack_error(kind, content.substr(0, size)),
                fmt::format("t: is no whole {} file: it is truncated or damaged", name(kind)))
          << size;
    // The second of two members is cut, in its header or later.
    for (const std::size_t cut : {std::size_t{1}, std::size_t{5}, content.size() - 1})
      EXPECT_NE(unpack_error(kind, content + content.substr(0, cut)), "") << name(kind) << cut;
  }
}

// A changed bit is an error, or changes nothing that is read.
TEST(XmlCompression, NoBitChangesTheTextInSilence) {
  const std::string text = some_text().substr(0, 5000);
  for (const compression kind : known_formats()) {
    const std::string content = packed(kind, text);
    std::size_t refused = 0;
    for (std::size_t bit = 0; bit < content.size() * 8; ++bit) {
      std::string changed = content;
      changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ 1 << bit % 8);
      try {
        ASSERT_TRUE(unpacked(kind, changed) == text) << name(kind) << ", bit " << bit;
      } catch (const pd::invalid_input&) {
        ++refused;
      }
    }
    EXPECT_GT(refused, content.size() * 8 * 9 / 10) << name(kind);
  }
}

TEST(XmlCompression, NoBitOfALargeFileChangesTheTextInSilence) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const std::string text = some_text();
  for (const compression kind : known_formats()) {
    const std::string content = packed(kind, text);
    for (int i = 0; i < 30; ++i) {
      const std::size_t bit = random() % (content.size() * 8);
      std::string changed = content;
      changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ 1 << bit % 8);
      try {
        ASSERT_TRUE(unpacked(kind, changed) == text) << name(kind) << ", bit " << bit;
      } catch (const pd::invalid_input&) {
      }
      const std::size_t size = 1 + random() % (content.size() - 1);
      ASSERT_NE(unpack_error(kind, content.substr(0, size)), "") << name(kind) << ' ' << size;
    }
  }
}

TEST(XmlCompression, WhatFollowsTheEndIsAnError) {
  for (const compression kind : known_formats())
    for (const std::string& tail : {std::string("<superblock/>"), std::string(1, '\0')})
      EXPECT_NE(unpack_error(kind, packed(kind, "x") + tail), "") << name(kind);
}

TEST(XmlCompression, SeveralMembersAreOneText) {
  for (const compression kind : known_formats())
    EXPECT_EQ(unpacked(kind, packed(kind, "a") + packed(kind, "") + packed(kind, "bc")), "abc")
        << name(kind);
}

TEST(XmlCompression, LetsErrorsOfWritingThrough) {
  for (const compression kind : known_formats()) {
    const byte_sink full = [](std::string_view) { throw std::bad_exception(); };
    compressor packer(kind, full, "t");
    EXPECT_THROW(
        {
          packer.write(some_text());
          packer.finish();
        },
        std::bad_exception)
        << name(kind);
  }
}

TEST(XmlCompression, WritesNoEndOfWhatWasNotFinished) {
  for (const compression kind : known_formats()) {
    std::string result;
    {
      compressor(
          kind, [&](std::string_view piece) { result += piece; }, "t")
          .write("<superblock>");
    }
    EXPECT_EQ(result.size() < packed(kind, "<superblock>").size(), true) << name(kind);
  }
}

// The output is full after any number of bytes, for good or for one write: that is never lost.
TEST(XmlCompression, LetsEachErrorOfWritingThrough) {
  const std::string text = some_text().substr(0, 5000);
  for (const compression kind : known_formats()) {
    const std::size_t whole = packed(kind, text).size();
    for (const bool for_good : {true, false})
      for (std::size_t room = 0; room <= whole; ++room) {
        std::size_t taken = 0;
        bool failed = false;
        const byte_sink sink = [&](std::string_view piece) {
          taken += piece.size();
          if (taken <= room || (failed && !for_good)) return;
          failed = true;
          throw std::bad_exception();
        };
        bool came_out = false;
        try {
          compressor packer(kind, sink, "t");
          packer.write(text);
          packer.finish();
        } catch (const std::bad_exception&) {
          came_out = true;
        }
        ASSERT_EQ(came_out, room < whole) << name(kind) << ' ' << room;
      }
  }
}

}  // namespace
}  // namespace era::xml
