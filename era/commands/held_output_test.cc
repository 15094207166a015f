// SPDX-License-Identifier: GPL-3.0-or-later
// Nothing is seen before the commit, however much it is.
#include "era/commands/held_output.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <thread>

namespace era {
namespace {

// A named pipe: what is written to it is seen at once.
class HeldOutput : public ::testing::Test {
 protected:
  HeldOutput() {
    int ends[2];
    if (::pipe2(ends, O_NONBLOCK) != 0) std::abort();
    in_ = ends[0];
    out_ = ends[1];
  }
  ~HeldOutput() override {
    ::close(in_);
    ::close(out_);
  }

  std::string path() const { return "/proc/self/fd/" + std::to_string(out_); }
  std::string seen() const {
    char text[100];
    const ssize_t got = ::read(in_, text, sizeof text);
    return got > 0 ? std::string(text, static_cast<std::size_t>(got)) : "";
  }

  int in_, out_;
};

TEST_F(HeldOutput, ShowsNothingBeforeItsCommit) {
  held_output out(path());
  out.write("hello, ");
  out.write("world");
  EXPECT_EQ(seen(), "");
  out.commit();
  EXPECT_EQ(seen(), "hello, world");
}

TEST_F(HeldOutput, ShowsNothingWithoutACommit) {
  { held_output(path()).write("hello"); }
  EXPECT_EQ(seen(), "");
}

// A reader empties the pipe meanwhile.
TEST_F(HeldOutput, PassesOnWhatDidNotFitIntoMemory) {
  constexpr std::size_t piece = 1 << 20;
  std::string expected, got;
  for (std::size_t i = 0; i < 40; ++i)
    expected += std::string(piece, static_cast<char>('a' + i % 26));
  ::fcntl(in_, F_SETFL, 0);
  ::fcntl(out_, F_SETFL, 0);
  std::jthread reader([&] {
    char bytes[1 << 16];
    while (got.size() < expected.size()) {
      const ssize_t n = ::read(in_, bytes, sizeof bytes);
      if (n <= 0) break;
      got.append(bytes, static_cast<std::size_t>(n));
    }
  });
  held_output out(path());
  for (std::size_t i = 0; i < 40; ++i)
    out.write(std::string_view(expected).substr(i * piece, piece));
  out.commit();
  reader.join();
  EXPECT_TRUE(got == expected);
}

TEST_F(HeldOutput, NamesTheDirectoryThatIsFull) {
  const char* const before = std::getenv("TMPDIR");
  const std::string kept = before ? before : "";
  ::setenv("TMPDIR", "/no/such/directory", 1);
  try {
    held_output out(path());
    out.write(std::string(64 << 20, 'x'));
    ADD_FAILURE();
  } catch (const output_error& e) {
    EXPECT_NE(std::string(e.what()).find("/no/such/directory"), std::string::npos);
  }
  before ? ::setenv("TMPDIR", kept.c_str(), 1) : ::unsetenv("TMPDIR");
}

}  // namespace
}  // namespace era
