// SPDX-License-Identifier: GPL-3.0-or-later
// The progress line: its text, and when it is shown.
#include "era/commands/progress.h"

#include <gtest/gtest.h>

#include <vector>

namespace era {
namespace {

using std::chrono::milliseconds;

class Progress : public testing::Test {
 protected:
  progress::sink sink() {
    return [this](std::string_view text) { shown.emplace_back(text); };
  }
  static progress::clock::time_point at(int ms) {
    return progress::clock::time_point(milliseconds(ms));
  }

  std::vector<std::string> shown;
};

constexpr std::uint64_t mib = 1 << 20;

TEST_F(Progress, OfAShortJobIsNotShown) {
  {
    progress p("tool", 100, sink(), at(0));
    p.update(50, at(999));
  }
  EXPECT_TRUE(shown.empty());
}

TEST_F(Progress, TellsPercentRateAndTimeLeft) {
  progress p("tool", 1000 * mib, sink(), at(0));
  p.update(100 * mib, at(1000));
  p.update(110 * mib, at(1199));  // too early
  p.update(150 * mib, at(2000));
  p.update(1000 * mib, at(10000));
  EXPECT_EQ(shown, (std::vector<std::string>{"\rtool: 10%, 100 MiB/s, 0:10 left",
                                             "\rtool: 15%, 75 MiB/s, 0:12 left ",
                                             "\rtool: 100%, 100 MiB/s, 0:01 left"}));
}

TEST_F(Progress, OfALongJob) {
  progress p("tool", 100000 * mib, sink(), at(0));
  p.update(10 * mib, at(1000));
  EXPECT_EQ(shown.back(), "\rtool: 0%, 10 MiB/s, 2:46:40 left");
}

TEST_F(Progress, WithoutATotalTellsTheRest) {
  progress p("tool", {}, sink(), at(0));
  p.update(300 * mib, at(2000));
  EXPECT_EQ(shown.back(), "\rtool: 300 MiB, 150 MiB/s");
}

TEST_F(Progress, OfAFileThatGrewOrIsNotReadYet) {
  progress p("tool", 10 * mib, sink(), at(0));
  p.update(0, at(1000));
  p.update(20 * mib, at(2000));
  EXPECT_EQ(shown,
            (std::vector<std::string>{"\rtool: 0%, 0 MiB/s", "\rtool: 100%, 10 MiB/s, 0:01 left"}));
}

TEST_F(Progress, GoesAway) {
  progress p("tool", {}, sink(), at(0));
  p.clear();
  EXPECT_TRUE(shown.empty());
  p.update(mib, at(1000));
  p.clear();
  EXPECT_EQ(shown.back(), "\r" + std::string(20, ' ') + "\r");
  p.clear();
  EXPECT_EQ(shown.size(), 2u);
}

TEST_F(Progress, IsNotShownWhereNobodyLooks) {
  progress p("tool", 10, {}, at(0));
  p.update(5, at(5000));
}

TEST_F(Progress, ShowsTextOfTheCallersOwn) {
  progress p("tool", std::nullopt, sink(), at(0));
  int asked = 0;
  const auto text = [&](double seconds) {
    ++asked;
    return std::string(5 - static_cast<std::size_t>(seconds), 'x');
  };
  p.update(text, at(999));
  EXPECT_EQ(asked, 0);
  p.update(text, at(1000));
  p.update(text, at(1100));
  p.update(text, at(3000));
  p.clear();
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(shown, (std::vector<std::string>{"\rxxxx", "\rxx  ", "\r    \r"}));
}

TEST(TimeLeft, GoesByTheRateSoFar) {
  EXPECT_EQ(time_left(0, 100, 5), "");
  EXPECT_EQ(time_left(50, 100, 64), "1:05");
  EXPECT_EQ(time_left(1, 3601, 1), "1:00:01");
  EXPECT_EQ(time_left(200, 100, 5), "0:01");
}

}  // namespace
}  // namespace era
