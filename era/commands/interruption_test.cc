// SPDX-License-Identifier: GPL-3.0-or-later
// Signals wait until the command asks for them, and are then not lost.
#include "era/commands/interruption.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>

#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

std::string message(const std::function<void()>& step) {
  try {
    step();
    return "";
  } catch (const interruption_error& e) {
    return e.what();
  }
}

class Interruption : public ::testing::Test {
 protected:
  // An interruption that has ended leaves its signals ignored.
  ~Interruption() override {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_DFL);
  }
};

TEST_F(Interruption, IsAskedFor) {
  const interruption signals;
  EXPECT_EQ(message([&] { signals.check(); }), "");
  ::raise(SIGINT);
  EXPECT_EQ(message([&] { signals.check(); }), "ended by a signal (Interrupt)");
  EXPECT_EQ(message([&] { signals.check(); }), "");
  ::raise(SIGTERM);
  EXPECT_EQ(message([&] { signals.check(); }), "ended by a signal (Terminated)");
  ::raise(SIGHUP);
  EXPECT_EQ(message([&] { signals.check(); }), "ended by a signal (Hangup)");
}

TEST_F(Interruption, EndsAWaitForInput) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const interruption signals;
  ::raise(SIGTERM);
  EXPECT_NE(message([&] { signals.wait_for(ends[0]); }), "");
  ASSERT_EQ(::write(ends[1], "x", 1), 1);
  EXPECT_EQ(message([&] { signals.wait_for(ends[0]); }), "");
  ::close(ends[1]);
  char c;
  ASSERT_EQ(::read(ends[0], &c, 1), 1);
  EXPECT_EQ(message([&] { signals.wait_for(ends[0]); }), "");  // at the end
  ::close(ends[0]);
}

// A writer that comes is waited for; one that has gone is the end.
TEST_F(Interruption, EndsAWaitForAFifosWriter) {
  const persistent_data::test::scratch_directory directory;
  const std::string path = directory.fifo("fifo");
  const interruption signals;
  const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  ::raise(SIGTERM);
  EXPECT_NE(message([&] { signals.wait_for(reader); }), "");
  const int writer = ::open(path.c_str(), O_WRONLY);
  ASSERT_GE(writer, 0);
  ::raise(SIGTERM);
  EXPECT_NE(message([&] { signals.wait_for(reader); }), "");
  ::close(writer);
  EXPECT_EQ(message([&] { signals.wait_for(reader); }), "");
  ::close(reader);
}

TEST_F(Interruption, EndsAWaitForAReader) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_NONBLOCK), 0);
  const interruption signals;
  EXPECT_EQ(message([&] { signals.wait_for_room(ends[1]); }), "");
  const std::string page(PIPE_BUF, 'x');
  while (::write(ends[1], page.data(), page.size()) > 0) continue;
  ::raise(SIGTERM);
  EXPECT_NE(message([&] { signals.wait_for_room(ends[1]); }), "");
  ::close(ends[0]);
  EXPECT_EQ(message([&] { signals.wait_for_room(ends[1]); }), "");
  ::close(ends[1]);
}

// Else a command that has committed would end as if it had not.
TEST_F(Interruption, LeavesTheExitStatusToTheCommand) {
  const auto command = [] {
    {
      const interruption signals;
      ::raise(SIGTERM);
    }
    ::raise(SIGINT);
    std::exit(7);
  };
  EXPECT_EXIT(command(), ::testing::ExitedWithCode(7), "");
}

TEST_F(Interruption, LeavesIgnoredSignalsIgnored) {
  ::signal(SIGHUP, SIG_IGN);
  const interruption signals;
  ::raise(SIGHUP);
  EXPECT_EQ(message([&] { signals.check(); }), "");
}

}  // namespace
}  // namespace era
