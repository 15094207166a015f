// SPDX-License-Identifier: GPL-3.0-or-later
// Temporary files go away with their name, and with a signal, unless they were released.
#include "era/commands/temporary_name.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <csignal>
#include <deque>
#include <optional>
#include <thread>

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
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT, SIGALRM, SIGUSR1, SIGXCPU}) {
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

// A signal comes at any moment, between the making of a file and the knowledge of its name, too.
TEST_F(TemporaryName, IsNotLeftByASignalWhileItIsMade) {
  const auto child = [&](unsigned before) {
    std::optional<temporary_name> name;
    std::atomic<unsigned> made = 0;
    const pthread_t self = ::pthread_self();
    std::thread sender([&] {
      sigset_t all;
      ::sigfillset(&all);
      ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
      while (made < before) continue;
      ::pthread_kill(self, SIGTERM);
    });
    for (;; ++made) {
      const auto fd = make_temporary_file(opened_.get(), 0600, name);
      name.reset();
    }
  };
  for (unsigned before = 1; before <= 50; ++before) {
    EXPECT_EXIT(child(before), ::testing::KilledBySignal(SIGTERM), "");
    ASSERT_EQ(files(), 0u) << before;
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
