// SPDX-License-Identifier: GPL-3.0-or-later
// Lines from files and FIFOs, and what is no line.
#include "era/sim/line_reader.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "persistent-data/format/errors.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era::sim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class LineReader : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_ / name; }
  std::string file(const std::string& content) const { return directory_.file("file", content); }
  // Every line; one that is none as its error.
  static std::vector<std::string> all_of(line_reader& in) {
    std::vector<std::string> lines;
    while (true) {
      try {
        const auto line = in.next();
        if (!line) return lines;
        lines.emplace_back(*line);
      } catch (const pd::invalid_input& e) {
        lines.emplace_back(e.what());
      }
    }
  }
  std::vector<std::string> lines_of(const std::string& content) const {
    line_reader in(file(content), [](int) {});
    const auto lines = all_of(in);
    EXPECT_EQ(in.line_number(), lines.size());
    EXPECT_EQ(in.place(), in.name() + ":" + std::to_string(lines.size()));
    EXPECT_EQ(in.bytes_done(), content.size());
    EXPECT_EQ(in.bytes(), content.size());
    return lines;
  }

  pd::test::scratch_directory directory_;
};

TEST_F(LineReader, LinesOfAFile) {
  EXPECT_THAT(lines_of(""), IsEmpty());
  EXPECT_THAT(lines_of("\n"), ElementsAre(""));
  EXPECT_THAT(lines_of("a\n\nb c\r\n"), ElementsAre("a", "", "b c\r"));
  EXPECT_THAT(lines_of("a\nlast"), ElementsAre("a", "last"));
}

TEST_F(LineReader, ManyLinesAcrossReads) {
  std::string content;
  std::vector<std::string> expected;
  for (std::size_t i = 0; content.size() < 1 << 20; ++i) {
    expected.push_back(std::string(i * 37 % 1000, static_cast<char>('a' + i % 26)));
    content += expected.back() + '\n';
  }
  EXPECT_EQ(lines_of(content), expected);
}

TEST_F(LineReader, ALineIsNotLongerThanThat) {
  const std::string longest(line_reader::longest_line, 'x');
  EXPECT_THAT(lines_of(longest), ElementsAre(longest));
  EXPECT_THAT(lines_of(longest + "\nb"), ElementsAre(longest, "b"));
  const std::string error = "the line is longer than 65536 bytes";
  EXPECT_THAT(lines_of(longest + "x"), ElementsAre(error));
  EXPECT_THAT(lines_of("a\n" + longest + "x\nb\n"), ElementsAre("a", error, "b"));
  EXPECT_THAT(lines_of(std::string(1 << 20, 'x') + "\nb\n"), ElementsAre(error, "b"));
}

TEST_F(LineReader, ANulByteIsNoText) {
  const std::string error = "the line has a NUL byte: it is no text";
  EXPECT_THAT(lines_of(std::string("a\0b\nc\n\0", 7)), ElementsAre(error, "c", error));
}

TEST_F(LineReader, WhatCannotBeRead) {
  const auto error_of = [](const std::string& path) -> std::string {
    try {
      line_reader in(path, [](int) {});
      in.next();
      return "";
    } catch (const pd::device_error& e) {
      return e.what();
    }
  };
  EXPECT_EQ(error_of(path("nowhere")), path("nowhere") + ": No such file or directory");
  EXPECT_EQ(error_of(directory_.string()),
            directory_.string() + ": cannot be read: Is a directory");
}

// Neither the opening of a FIFO waits, nor anything but before_read; a line is there as soon as its
// newline is.
TEST_F(LineReader, AFifo) {
  const std::string fifo = path("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  std::vector<std::string> pieces = {"", "a\nb", "", "c\n", "last"};
  std::size_t waits = 0;
  int writer = -1;
  line_reader in(fifo, [&](int) {
    if (waits == 0) writer = ::open(fifo.c_str(), O_WRONLY);
    if (waits < pieces.size()) {
      const auto size = static_cast<ssize_t>(pieces[waits].size());
      ASSERT_EQ(::write(writer, pieces[waits].data(), pieces[waits].size()), size);
    }
    if (waits == pieces.size()) ::close(writer);
    ++waits;
  });
  EXPECT_EQ(in.next(), "a");
  EXPECT_EQ(waits, 2u);
  EXPECT_EQ(in.next(), "bc");
  EXPECT_EQ(waits, 4u);
  EXPECT_EQ(in.next(), "last");
  EXPECT_EQ(waits, 6u);
  EXPECT_EQ(in.next(), std::nullopt);
  EXPECT_EQ(in.bytes(), std::nullopt);
}

// With part of a line read: it goes on there.
TEST_F(LineReader, WhatEndsAWaitLosesNothing) {
  const std::string fifo = path("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  int writer = -1, waits = 0;
  line_reader in(fifo, [&](int) {
    ++waits;
    if (waits == 1) {
      writer = ::open(fifo.c_str(), O_WRONLY);
      ASSERT_EQ(::write(writer, "par", 3), 3);
    }
    if (waits == 2) throw std::runtime_error("ended");
    if (waits == 3) {
      ASSERT_EQ(::write(writer, "t\n", 2), 2);
    }
  });
  EXPECT_THROW(in.next(), std::runtime_error);
  EXPECT_EQ(in.next(), "part");
  ::close(writer);
}

}  // namespace
}  // namespace era::sim
