// SPDX-License-Identifier: GPL-3.0-or-later
// XML from files, pipes and packed files, and what is no XML; and what is packed can be unpacked.
#include "era/xml/source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "config.h"
#include "era/testing/metadata_builder.h"

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

#ifdef HAVE_BOOST_IOSTREAMS

constexpr compression all[] = {compression::gzip, compression::xz, compression::zstd};

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

// Never in silence: what comes out is an error or less than the whole, which no reader of XML
// accepts.
TEST_F(XmlSource, WhatIsTruncated) {
  const std::string text = some_text();
  for (const compression kind : all) {
    const std::string content = packed(kind, text);
    for (const std::size_t size : {content.size() / 2, content.size() - 100}) {
      SCOPED_TRACE(fmt::format("{} {}", name(kind), size));
      std::string got;
      try {
        input_file in(file("x", content.substr(0, size)));
        got = read_all(in);
      } catch (const compression_error& e) {
        EXPECT_EQ(e.what(), fmt::format("{}: is no whole {} file: it is truncated or damaged",
                                        path("x"), name(kind)));
      }
      EXPECT_LT(got.size(), text.size());
    }
  }
}

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

#else

TEST_F(XmlSource, IsNotUnpackedWithoutBoost) {
  EXPECT_EQ(error_of(file("x", "\x1f\x8b\x08 and so on")),
            path("x") +
                ": gzip is not known to this program, which is built without "
                "Boost.Iostreams; unpack the file first");
  EXPECT_THROW(compressor(
                   compression::xz, [](std::string_view) {}, "x.xz"),
               compression_error);
}

#endif

}  // namespace
}  // namespace era::xml
