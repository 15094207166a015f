// SPDX-License-Identifier: GPL-3.0-or-later
// A file appears whole or not at all.
#include "era/commands/output.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace era {
namespace {

namespace fs = std::filesystem;

class Output : public ::testing::Test {
 protected:
  Output() {
    std::string name = (fs::temp_directory_path() / "output_test.XXXXXX").string();
    if (!::mkdtemp(name.data())) std::abort();
    directory_ = name;
  }
  ~Output() override { fs::remove_all(directory_); }

  std::string path(const char* name) const { return (directory_ / name).string(); }
  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(directory_), fs::directory_iterator()));
  }
  static std::string content(const std::string& of) {
    std::ostringstream text;
    text << std::ifstream(of).rdbuf();
    return text.str();
  }

  fs::path directory_;
};

TEST_F(Output, AppearsWithItsCommit) {
  output out(path("new"));
  out.write("hello, ");
  out.write("world");
  EXPECT_FALSE(fs::exists(path("new")));
  out.commit();
  EXPECT_EQ(content(path("new")), "hello, world");
  EXPECT_EQ(files(), 1u);
}

TEST_F(Output, GoesAwayWithoutACommit) {
  { output(path("new")).write("half"); }
  EXPECT_EQ(files(), 0u);
}

TEST_F(Output, KeepsAnEarlierFileUntilItsCommit) {
  std::ofstream(path("old")) << "old";
  ::chmod(path("old").c_str(), 0640);
  { output(path("old")).write("half"); }
  EXPECT_EQ(content(path("old")), "old");
  output out(path("old"));
  out.write("new");
  out.commit();
  EXPECT_EQ(content(path("old")), "new");
  EXPECT_EQ(fs::status(path("old")).permissions(), fs::perms(0640));
  EXPECT_EQ(files(), 1u);
}

TEST_F(Output, HasTheModeThatNewFilesHave) {
  const mode_t before = ::umask(027);
  {
    output out(path("new"));
    out.commit();
  }
  ::umask(before);
  EXPECT_EQ(fs::status(path("new")).permissions(), fs::perms(0640));
}

TEST_F(Output, WritesThroughALink) {
  std::ofstream(path("target")) << "old";
  fs::create_symlink("target", path("link"));
  output out(path("link"));
  out.write("new");
  out.commit();
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_EQ(content(path("target")), "new");
}

TEST_F(Output, NamesWhatItCannotWrite) {
  try {
    output out(path("no/such/directory"));
    FAIL();
  } catch (const output_error& e) {
    EXPECT_NE(std::string(e.what()).find("no/such/directory"), std::string::npos);
  }
  EXPECT_THROW(output out(directory_.string()), output_error);
}

TEST_F(Output, SaysThatADeviceIsFull) {
  output out("/dev/full");
  EXPECT_THROW(out.write("text"), output_error);
}

TEST_F(Output, TellsAClosedPipe) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  output out("/proc/self/fd/" + std::to_string(ends[1]));
  ::close(ends[1]);
  EXPECT_THROW(out.write("text"), closed_pipe);
  std::signal(SIGPIPE, before);
}

// A child ends itself by the signal while its file is half written.
TEST_F(Output, GoesAwayWithASignal) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const auto child = [&] {
      output out(path("new"));
      out.write("half");
      ::raise(signal);
    };
    EXPECT_EXIT(child(), ::testing::KilledBySignal(signal), "");
    EXPECT_EQ(files(), 0u) << signal;
  }
}

}  // namespace
}  // namespace era
