// SPDX-License-Identifier: GPL-3.0-or-later
// XML from files, pipes and packed files, and what is no XML.
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

#include "era/testing/image_builder.h"
#include "era/testing/packed_text.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era::xml {
namespace {

using test::known_formats;
using test::packed;
using test::some_text;

class XmlSource : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory / name; }
  std::string file(const std::string& name, const std::string& content) const {
    return directory.file(name, content);
  }

  pd::test::scratch_directory directory;
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
  for (const char* name : {"x.xml", "hard", "soft"}) EXPECT_TRUE(in.overlaps(path(name)));
  EXPECT_FALSE(in.overlaps(file("y.xml", "")));
  EXPECT_FALSE(in.overlaps(path("none")));
}

TEST_F(XmlSource, WhatCannotBeRead) {
  EXPECT_EQ(error_of(path("none.xml")), path("none.xml") + ": No such file or directory");
  EXPECT_EQ(error_of(directory.string()), directory.string() + ": Is a directory");
}

TEST_F(XmlSource, BinaryMetadata) {
  const era::test::built_metadata built({});
  EXPECT_EQ(error_of(built.path()),
            built.path() + ": is binary metadata of dm-era, not XML; era_dump makes XML of it");
}

TEST_F(XmlSource, UnpacksWhatIsPacked) {
  for (const std::string& text : {std::string(), std::string("x"), some_text()})
    for (const compression kind : known_formats()) {
      SCOPED_TRACE(name(kind));
      const std::string content = packed(kind, text);
      EXPECT_EQ(compression_by_content(content), kind);
      EXPECT_LT(content.size(), text.size() / 3 + 100);
      input_file in(file("x", content));
      EXPECT_TRUE(read_all(in) == text);
      EXPECT_EQ(in.bytes_read(), content.size());
    }
}

TEST_F(XmlSource, WhatIsTruncated) {
  for (const compression kind : known_formats()) {
    const std::string content = packed(kind, some_text());
    for (const std::size_t size : {content.size() / 2, content.size() - 100, content.size() - 1})
      EXPECT_EQ(error_of(file("x", content.substr(0, size))),
                fmt::format("{}: is no whole {} file: it is truncated or damaged", path("x"),
                            name(kind)));
  }
}

TEST_F(XmlSource, WhatIsDamaged) {
  for (const compression kind : known_formats()) {
    std::string content = packed(kind, some_text());
    for (std::size_t i = 0; i < 50; ++i) content[content.size() / 2 + i] ^= 0x55;
    EXPECT_NE(error_of(file("x", content)).find("truncated or damaged"), std::string::npos)
        << name(kind);
  }
}

// A reader that fails within a filter is heard.
TEST_F(XmlSource, LetsErrorsOfReadingThrough) {
  for (const compression kind : known_formats()) {
    int asked = 0;
    input_file in(file("x", packed(kind, some_text())), [&](int) {
      if (++asked == 2) throw std::bad_exception();
    });
    EXPECT_THROW(read_all(in), std::bad_exception) << name(kind);
  }
}

TEST_F(XmlSource, NamesTheLibraryThatTheToolsAreBuiltWithout) {
  for (const test::library& l : test::libraries) {
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
                 pd::invalid_input);
  }
}

}  // namespace
}  // namespace era::xml
