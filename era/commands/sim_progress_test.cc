// SPDX-License-Identifier: GPL-3.0-or-later
// The line of a script, of a pipe and of a dialogue.
#include "era/commands/sim_progress.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "persistent-data/io/unique_fd.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

namespace pd = persistent_data;
using ::testing::ElementsAre;

class SimProgress : public ::testing::Test {
 protected:
  sim_progress_options options(bool is_dialogue = false) {
    return {.command = "tool", .is_dialogue = is_dialogue, .to = [this](std::string_view text) {
              shown_.emplace_back(text);
            }};
  }
  static progress::clock::time_point at(int seconds) {
    return progress::clock::time_point(std::chrono::seconds(seconds));
  }
  static void read_line(sim_progress& p, sim::line_reader& in) {
    p.begin_line();
    ASSERT_TRUE(in.next());
  }
  // The text, then the spaces that a longer one before it needs.
  std::string last() const {
    const std::string& text = shown_.back();
    return text.substr(1, text.find_last_not_of(' '));
  }

  pd::test::scratch_directory directory_;
  const std::string script_ = directory_.file("script", "1234\n1234\n123456789\n");
  std::vector<std::string> shown_;
};

TEST_F(SimProgress, BeginsWithTheMetadata) {
  const sim::line_reader in(script_, [](int) {});
  sim_progress p(in, options(), at(0));
  p.update(0, 0, at(1));
  EXPECT_EQ(last(), "tool: opening the metadata: 0%");
}

TEST_F(SimProgress, OfAScriptIsThePositionInIt) {
  sim::line_reader in(script_, [](int) {});
  sim_progress p(in, options(), at(0));
  p.end_opening();
  read_line(p, in);
  read_line(p, in);
  p.update(0, 0, at(10));
  EXPECT_EQ(last(), "tool: " + script_ + ":2: 25%, 0:31 left");
  p.update(3, 5, at(20));
  EXPECT_EQ(last(), "tool: " + script_ + ":2: 40%, 0:31 left");
  read_line(p, in);
  p.update(1, 2, at(30));
  EXPECT_EQ(last(), "tool: " + script_ + ":3: 75%, 0:11 left");
}

TEST_F(SimProgress, OfAPipeIsThatOfTheLineAndHasNoTime) {
  const std::string fifo = directory_.fifo("fifo");
  const pd::unique_fd writer(::open(fifo.c_str(), O_RDWR));
  ASSERT_EQ(::write(writer.get(), "1234\n", 5), 5);
  sim::line_reader in(fifo, [](int) {});
  sim_progress p(in, options(), at(0));
  p.end_opening();
  read_line(p, in);
  p.update(0, 0, at(1));
  EXPECT_EQ(last(), "tool: " + fifo + ":1");
  p.update(1, 4, at(2));
  EXPECT_EQ(last(), "tool: " + fifo + ":1: 25%");
}

// Even if the lines come from a file.
TEST_F(SimProgress, OfADialogueBeginsAnewWithEachLine) {
  sim::line_reader in(script_, [](int) {});
  sim_progress p(in, options(true), at(0));
  p.end_opening();
  read_line(p, in);
  p.update(0, 0, at(1));
  EXPECT_EQ(last(), "tool: " + script_ + ":1");
  shown_.clear();
  p.restart_clock(at(100));
  EXPECT_EQ(shown_.size(), 1u);  // the line went away
  read_line(p, in);
  p.update(1, 4, at(100));
  EXPECT_EQ(shown_.size(), 1u);
  p.update(1, 4, at(101));
  EXPECT_EQ(last(), "tool: " + script_ + ":2: 25%, 0:04 left");
}

TEST_F(SimProgress, GoesAway) {
  const sim::line_reader in(script_, [](int) {});
  {
    sim_progress p(in, options(), at(0));
    p.update(0, 0, at(1));
  }
  const std::string spaces(std::string_view("tool: opening the metadata: 0%").size(), ' ');
  EXPECT_THAT(shown_, ElementsAre("\rtool: opening the metadata: 0%", "\r" + spaces + "\r"));
}

}  // namespace
}  // namespace era
