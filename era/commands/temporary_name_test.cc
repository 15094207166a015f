// SPDX-License-Identifier: GPL-3.0-or-later
// Temporary files go away with their name, and with a signal, unless they were released.
#include "era/commands/temporary_name.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <csignal>
#include <deque>

#include "era/testing/output_directory.h"
#include "persistent-data/io/unique_fd.h"

namespace era {
namespace {

class TemporaryName : public test::output_directory {
 protected:
  std::string create(const char* name) {
    std::ofstream(path(name)) << "half";
    return name;
  }
  const pd::unique_fd opened_{::open(path("").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
};

TEST_F(TemporaryName, RemovesItsFile) {
  { const temporary_name name(opened_.get(), create("a")); }
  EXPECT_EQ(files(), 0u);
}

TEST_F(TemporaryName, LeavesAFileThatWasReleased) {
  {
    temporary_name name(opened_.get(), create("a"));
    name.release();
  }
  EXPECT_EQ(files(), 1u);
}

TEST_F(TemporaryName, RemovesItsFileAtASignal) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
    const auto child = [&] {
      std::signal(SIGPIPE, SIG_DFL);
      const temporary_name first(opened_.get(), create("a"));
      temporary_name kept(opened_.get(), create("kept"));
      kept.release();
      const temporary_name second(opened_.get(), create("b"));
      std::raise(signal);
    };
    EXPECT_EXIT(child(), ::testing::KilledBySignal(signal), "");
    EXPECT_EQ(files(), 1u) << signal;
  }
}

TEST_F(TemporaryName, CanBeOneOfMany) {
  {
    std::deque<temporary_name> names;
    for (char c = 'a'; c <= 'z'; ++c)
      names.emplace_back(opened_.get(), create(std::string(1, c).c_str()));
    EXPECT_EQ(files(), 26u);
  }
  EXPECT_EQ(files(), 0u);
}

}  // namespace
}  // namespace era
