// SPDX-License-Identifier: GPL-3.0-or-later
// Signals wait until they are asked for, and are then not lost.
#include "era/commands/interruption.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

namespace era {
namespace {

std::string message(const std::function<void()>& step) {
  try {
    step();
    return "";
  } catch (const interrupted& e) {
    return e.what();
  }
}

TEST(Interruption, IsAskedFor) {
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

TEST(Interruption, EndsAWaitForInput) {
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

TEST(Interruption, LeavesIgnoredSignalsIgnored) {
  const auto before = ::signal(SIGHUP, SIG_IGN);
  {
    const interruption signals;
    ::raise(SIGHUP);
    EXPECT_EQ(message([&] { signals.check(); }), "");
  }
  ::signal(SIGHUP, before);
}

}  // namespace
}  // namespace era
