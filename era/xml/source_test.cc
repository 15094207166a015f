// SPDX-License-Identifier: GPL-3.0-or-later
// XML from files, pipes and packed files, and what is no XML; and what is packed can be unpacked.
#include "era/xml/source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "config.h"
#include "era/testing/image_builder.h"

#ifdef HAVE_LZMA
#include <lzma.h>
#endif
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

namespace era::xml {
namespace {

class XmlSource : public ::testing::Test {
 protected:
  XmlSource() {
    std::string pattern = (std::filesystem::temp_directory_path() / "source.XXXXXX");
    directory = ::mkdtemp(pattern.data());
  }
  ~XmlSource() override { std::filesystem::remove_all(directory); }

  std::string path(const std::string& name) const { return (directory / name).string(); }
  std::string file(const std::string& name, const std::string& content) const {
    std::ofstream(path(name), std::ios::binary) << content;
    return path(name);
  }

  std::filesystem::path directory;
};

std::string read_all(input_file& in, std::size_t piece = 1000) {
  std::string all, buffer(piece, '?');
  while (const std::size_t got = in.read(buffer.data(), buffer.size())) all.append(buffer, 0, got);
  return all;
}

std::string error_of(const std::string& path) {
  try {
    input_file in(path);
    read_all(in);
    return "";
  } catch (const std::exception& e) {
    return e.what();
  }
}

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

// Neither the opening of a FIFO blocks, nor is a writer that pauses an error.
TEST_F(XmlSource, AFifoIsWaitedForByItsCaller) {
  const std::string fifo = path("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const std::string text = "<superblock>" + std::string(40, ' ');
  int writer = -1, waits = 0;
  ssize_t written = 0;
  input_file in(fifo, [&](int) {
    ++waits;
    if (waits == 1) writer = ::open(fifo.c_str(), O_WRONLY);
    if (waits == 3) written = ::write(writer, text.data(), text.size());
    if (waits == 5) ::close(writer);
  });
  EXPECT_EQ(read_all(in), text);
  EXPECT_EQ(written, 52);
  EXPECT_EQ(waits, 5);
}

TEST_F(XmlSource, ReadsAFileWhole) {
  for (const std::size_t size : {0u, 1u, 39u, 40u, 41u, 1000u, 100000u}) {
    const std::string text = some_text().substr(0, size);
    input_file in(file("x.xml", text));
    EXPECT_EQ(in.name(), path("x.xml"));
    EXPECT_EQ(in.bytes(), size);
    for (const std::size_t piece : {1u, 7u, 5000u}) {
      input_file again(path("x.xml"));
      EXPECT_TRUE(read_all(again, piece) == text) << size << ' ' << piece;
      EXPECT_EQ(again.bytes_read(), size);
    }
  }
}

TEST_F(XmlSource, ReadsAPipe) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_EQ(::write(ends[1], "<superblock/>", 13), 13);
  ::close(ends[1]);
  input_file in(fmt::format("/proc/self/fd/{}", ends[0]));
  EXPECT_EQ(in.bytes(), std::nullopt);
  EXPECT_EQ(read_all(in), "<superblock/>");
  ::close(ends[0]);
}

TEST_F(XmlSource, AsksBeforeEachRead) {
  int asked = 0;
  input_file in(file("x.xml", some_text()), [&](int fd) {
    EXPECT_GE(fd, 0);
    if (++asked == 10) throw std::bad_exception();
  });
  EXPECT_THROW(read_all(in), std::bad_exception);
}

TEST_F(XmlSource, KnowsItself) {
  const input_file in(file("x.xml", "<superblock/>"));
  std::filesystem::create_hard_link(path("x.xml"), path("hard"));
  std::filesystem::create_symlink("x.xml", path("soft"));
  for (const char* name : {"x.xml", "hard", "soft"}) EXPECT_TRUE(in.is_same_file(path(name)));
  EXPECT_FALSE(in.is_same_file(file("y.xml", "")));
  EXPECT_FALSE(in.is_same_file(path("none")));
}

TEST_F(XmlSource, WhatCannotBeRead) {
  EXPECT_EQ(error_of(path("none.xml")), path("none.xml") + ": No such file or directory");
  EXPECT_EQ(error_of(directory.string()), directory.string() + ": Is a directory");
}

TEST_F(XmlSource, BinaryMetadata) {
  const test::built_metadata built({});
  EXPECT_EQ(error_of(built.path()),
            built.path() + ": is binary metadata, not XML; era_dump makes XML of it");
}

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

struct library {
  compression kind;
  const char* name;
  bool is_there;
};
constexpr library libraries[] = {
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

// The formats that the tools are built with.
const std::vector<compression> all = [] {
  std::vector<compression> there;
  for (const library& l : libraries)
    if (l.is_there) there.push_back(l.kind);
  return there;
}();

// Unpacks without a file. Throws compression_error.
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

// The error of unpacking; empty if there is none.
std::string unpack_error(compression kind, std::string_view content) {
  try {
    unpacked(kind, content);
    return "";
  } catch (const compression_error& e) {
    return e.what();
  }
}

TEST_F(XmlSource, UnpacksWhatIsPacked) {
  for (const std::string& text : {std::string(), std::string("x"), some_text()})
    for (const compression kind : all) {
      SCOPED_TRACE(name(kind));
      const std::string content = packed(kind, text);
      EXPECT_EQ(compression_by_content(content), kind);
      EXPECT_LT(content.size(), text.size() / 3 + 100);
      input_file in(file("x", content));
      EXPECT_TRUE(read_all(in) == text);
      EXPECT_EQ(in.bytes_read(), content.size());
    }
}

// One byte at a time, in and out.
TEST(XmlCompression, UnpacksFromAnyPieces) {
  const std::string text = some_text().substr(0, 20000);
  for (const compression kind : all) {
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

TEST_F(XmlSource, WhatIsTruncated) {
  for (const compression kind : all) {
    const std::string content = packed(kind, some_text());
    for (const std::size_t size : {content.size() / 2, content.size() - 100, content.size() - 1})
      EXPECT_EQ(error_of(file("x", content.substr(0, size))),
                fmt::format("{}: is no whole {} file: it is truncated or damaged", path("x"),
                            name(kind)));
  }
}

TEST(XmlCompression, EveryTruncationIsAnError) {
  const std::string text = some_text().substr(0, 5000);
  for (const compression kind : all) {
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
  for (const compression kind : all) {
    const std::string content = packed(kind, text);
    std::size_t refused = 0;
    for (std::size_t bit = 0; bit < content.size() * 8; ++bit) {
      std::string changed = content;
      changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ 1 << bit % 8);
      try {
        ASSERT_TRUE(unpacked(kind, changed) == text) << name(kind) << ", bit " << bit;
      } catch (const compression_error&) {
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
  for (const compression kind : all) {
    const std::string content = packed(kind, text);
    for (int i = 0; i < 30; ++i) {
      const std::size_t bit = random() % (content.size() * 8);
      std::string changed = content;
      changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ 1 << bit % 8);
      try {
        ASSERT_TRUE(unpacked(kind, changed) == text) << name(kind) << ", bit " << bit;
      } catch (const compression_error&) {
      }
      const std::size_t size = 1 + random() % (content.size() - 1);
      ASSERT_NE(unpack_error(kind, content.substr(0, size)), "") << name(kind) << ' ' << size;
    }
  }
}

TEST(XmlCompression, WhatFollowsTheEndIsAnError) {
  for (const compression kind : all)
    for (const std::string& tail : {std::string("<superblock/>"), std::string(1, '\0')})
      EXPECT_NE(unpack_error(kind, packed(kind, "x") + tail), "") << name(kind);
}

TEST(XmlCompression, SeveralMembersAreOneText) {
  for (const compression kind : all)
    EXPECT_EQ(unpacked(kind, packed(kind, "a") + packed(kind, "") + packed(kind, "bc")), "abc")
        << name(kind);
}

#ifdef HAVE_ZSTD

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

TEST_F(XmlSource, SkipsSkippableFramesOfZstd) {
  const std::string frame = packed(compression::zstd, "abc");
  for (const char kind : {'\x50', '\x57', '\x5f'})
    for (const std::string& skipped :
         {skippable_frame(kind, ""), skippable_frame(kind, std::string(300000, '\x28'))}) {
      EXPECT_EQ(compression_by_content(skipped), compression::zstd);
      input_file in(file("x", skipped + frame + skipped + skipped + frame + skipped));
      EXPECT_EQ(read_all(in), "abcabc");
      EXPECT_NE(unpack_error(compression::zstd, frame + skipped.substr(0, skipped.size() - 1)), "");
    }
}

TEST(ZstdCompression, LimitsTheWindow) {
  EXPECT_EQ(unpacked(compression::zstd, zstd_frame("abc", true, 27)), "abc");
  EXPECT_EQ(unpack_error(compression::zstd, zstd_frame("abc", true, 28)),
            "t: is compressed as zstd with a window of more than 128 MiB; unpack it first, "
            "with zstd -dc --long=31");
}

#endif

#ifdef HAVE_LZMA

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

#endif

TEST_F(XmlSource, WhatIsDamaged) {
  for (const compression kind : all) {
    std::string content = packed(kind, some_text());
    for (std::size_t i = 0; i < 50; ++i) content[content.size() / 2 + i] ^= 0x55;
    EXPECT_NE(error_of(file("x", content)).find("truncated or damaged"), std::string::npos)
        << name(kind);
  }
}

// A reader that fails within a filter is heard.
TEST_F(XmlSource, LetsErrorsOfReadingThrough) {
  for (const compression kind : all) {
    int asked = 0;
    input_file in(file("x", packed(kind, some_text())), [&](int) {
      if (++asked == 2) throw std::bad_exception();
    });
    EXPECT_THROW(read_all(in), std::bad_exception) << name(kind);
  }
}

TEST(XmlCompression, LetsErrorsOfWritingThrough) {
  for (const compression kind : all) {
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
  for (const compression kind : all) {
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
  for (const compression kind : all) {
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

TEST_F(XmlSource, NamesTheLibraryThatTheToolsAreBuiltWithout) {
  for (const library& l : libraries) {
    if (l.is_there) continue;
    const std::string begin = l.kind == compression::gzip ? "\x1f\x8b"
                              : l.kind == compression::xz ? std::string(
                                                                "\xfd"
                                                                "7zXZ\0",
                                                                6)
                                                          : "\x28\xb5\x2f\xfd";
    EXPECT_EQ(error_of(file("x", begin + " and so on")),
              fmt::format("{}: {} is not known to this program, which is built without {}; unpack "
                          "the file first",
                          path("x"), name(l.kind), l.name));
    EXPECT_THROW(compressor(
                     l.kind, [](std::string_view) {}, "x"),
                 compression_error);
  }
}

}  // namespace
}  // namespace era::xml
