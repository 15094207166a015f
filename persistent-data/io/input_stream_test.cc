// SPDX-License-Identifier: GPL-3.0-or-later
// Files, directories and FIFOs as inputs.
#include "persistent-data/io/input_stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/unique_fd.h"
#include "persistent-data/testing/scratch_directory.h"

namespace persistent_data {
namespace {

class InputStream : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_ / name; }
  std::string file(const std::string& content) const { return directory_.file("file", content); }
  std::string fifo() const { return directory_.fifo("fifo"); }

  test::scratch_directory directory_;
};

TEST_F(InputStream, ReadsAFileToItsEnd) {
  input_stream in(file("abcde"));
  EXPECT_EQ(in.name(), path("file"));
  EXPECT_EQ(in.bytes(), 5u);
  char buffer[3] = {};
  ASSERT_EQ(in.read(buffer, sizeof buffer), 3);
  EXPECT_EQ(std::string(buffer, 3), "abc");
  ASSERT_EQ(in.read(buffer, sizeof buffer), 2);
  EXPECT_EQ(std::string(buffer, 2), "de");
  EXPECT_EQ(in.read(buffer, sizeof buffer), 0);
}

TEST_F(InputStream, StandardInputStaysOpen) {
  const int before = ::fcntl(STDIN_FILENO, F_GETFD);
  {
    const input_stream in("-");
    EXPECT_EQ(in.name(), "standard input");
  }
  EXPECT_EQ(::fcntl(STDIN_FILENO, F_GETFD), before);
}

TEST_F(InputStream, ClosesItsDescriptor) {
  int used = -1;
  {
    input_stream in(file("x"), [&](int fd) { used = fd; });
    char c = 0;
    EXPECT_EQ(in.read(&c, 1), 1);
  }
  EXPECT_EQ(::fcntl(used, F_GETFD), -1);
}

TEST_F(InputStream, SaysWhyAFileCannotBeOpened) {
  try {
    const input_stream in(path("none"));
    FAIL();
  } catch (const device_error& e) {
    EXPECT_EQ(e.what(), path("none") + ": No such file or directory");
  }
}

TEST_F(InputStream, ADirectoryCannotBeRead) {
  input_stream in(directory_.string());
  char c = 0;
  EXPECT_EQ(in.read(&c, 1), -1);
  EXPECT_EQ(errno, EISDIR);
  EXPECT_EQ(in.bytes(), std::nullopt);
}

TEST_F(InputStream, KnowsItsFile) {
  const input_stream in(file("x"));
  std::filesystem::create_hard_link(path("file"), path("hard"));
  EXPECT_TRUE(in.overlaps(path("hard")));
  EXPECT_FALSE(in.overlaps(directory_.string()));
  EXPECT_FALSE(in.overlaps(path("none")));
  const unique_fd same(::open(path("hard").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(in.overlaps(same.get()));
  EXPECT_FALSE(in.overlaps(-1));
}

// The opening does not wait for a writer. A writer that pauses is no end.
TEST_F(InputStream, BeforeReadWaitsForAFifo) {
  int writer = -1, waits = 0;
  input_stream in(fifo(), [&](int) {
    ++waits;
    if (waits == 1) writer = ::open(path("fifo").c_str(), O_WRONLY);
    if (waits == 3) {
      ASSERT_EQ(::write(writer, "x", 1), 1);
    }
    if (waits == 4) ::close(writer);
  });
  EXPECT_EQ(in.bytes(), std::nullopt);
  char c = 0;
  EXPECT_EQ(in.read(&c, 1), 1);
  EXPECT_EQ(c, 'x');
  EXPECT_EQ(waits, 3);
  EXPECT_EQ(in.read(&c, 1), 0);
  EXPECT_EQ(waits, 4);
}

TEST_F(InputStream, PollWaitsUnlessSomethingElseDoes) {
  const std::string name = fifo();
  input_stream in(name);
  const unique_fd writer(::open(name.c_str(), O_WRONLY));
  ASSERT_EQ(::write(writer.get(), "x", 1), 1);
  char c = 0;
  EXPECT_EQ(in.read(&c, 1), 1);
  EXPECT_EQ(c, 'x');
}

TEST_F(InputStream, AnExceptionOfBeforeReadLosesNothing) {
  bool is_first = true;
  input_stream in(file("x"), [&](int) {
    if (std::exchange(is_first, false)) throw std::runtime_error("ended");
  });
  char c = 0;
  EXPECT_THROW(in.read(&c, 1), std::runtime_error);
  EXPECT_EQ(in.read(&c, 1), 1);
  EXPECT_EQ(c, 'x');
}

}  // namespace
}  // namespace persistent_data
