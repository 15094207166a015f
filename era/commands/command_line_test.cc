// SPDX-License-Identifier: GPL-3.0-or-later
// Usage, help, and the message and exit status of each kind of exception.
#include "era/commands/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

#include "era/testing/command_run.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// A command with a device, which does one thing.
test::command_result run(std::vector<std::string> arguments, const std::function<int()>& work) {
  return test::run_command(
      [&](int argc, char** argv) {
        command_line line("era_test", "Tests.", "[options] {device|file}");
        line.add_device();
        return line.run(argc, argv, work);
      },
      std::move(arguments));
}

int unexpected() {
  ADD_FAILURE() << "the command was run";
  return exit_failure;
}

TEST(CommandLine, RunsTheCommand) {
  const auto result = run({"m.img"}, [] { return 7; });
  EXPECT_EQ(result.status, 7);
  EXPECT_EQ(result.out + result.err, "");
}

TEST(CommandLine, HelpAndVersionOverruleTheRest) {
  const auto help = run({"--help"}, unexpected);
  EXPECT_EQ(help.status, exit_success);
  EXPECT_THAT(help.out, StartsWith("Tests.\nUsage: era_test [options] {device|file}\n"));
  EXPECT_THAT(help.out, HasSubstr("--version"));
  EXPECT_EQ(run({"-V", "a", "b"}, unexpected).status, exit_success);
}

TEST(CommandLine, BadUsageNamesTheWayOut) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{}, {""}, {"a", "b"}, {"--none", "a"}}) {
    const auto result = run(arguments, unexpected);
    EXPECT_EQ(result.status, exit_failure);
    EXPECT_THAT(result.err, HasSubstr("Try 'era_test --help'."));
    EXPECT_EQ(result.out, "");
  }
  EXPECT_THAT(run({"a", "b"}, unexpected).err, HasSubstr("'b' is not expected here, after 'a'\n"));
  EXPECT_THAT(run({"", "b"}, unexpected).err, HasSubstr("an argument is empty"));
}

TEST(CommandLine, AnExceptionIsAMessage) {
  const auto message = [](const std::function<int()>& work) {
    const auto result = run({"m.img"}, work);
    EXPECT_EQ(result.status, exit_failure);
    return result.err;
  };
  EXPECT_EQ(message([]() -> int { throw pd::damaged_metadata("m.img: is lost"); }),
            "era_test: m.img: is lost\n");
  EXPECT_EQ(message([]() -> int { throw std::bad_alloc(); }),
            "era_test: there is not enough memory to read m.img\n");
  EXPECT_THAT(message([]() -> int { throw std::system_error(EIO, std::generic_category()); }),
              StartsWith("era_test: cannot read m.img: "));
  EXPECT_EQ(message([]() -> int { throw pd::closed_pipe(); }), "");
}

// None is lost and none comes late, however the command ends.
TEST(CommandLine, MessagesInBulkComeInOrder) {
  constexpr int count = 5000;
  const auto messages = [](const std::function<int(const command_line&)>& end) {
    command_line line("era_test", "Tests.", "[options] {device|file}");
    line.add_device();
    return test::run_command(
               [&](int argc, char** argv) {
                 return line.run(argc, argv, [&] {
                   for (int i = 0; i < count; ++i) line.say_in_bulk(std::to_string(i));
                   return end(line);
                 });
               },
               {"m.img"})
        .err;
  };
  std::string all;
  for (int i = 0; i < count; ++i) all += "era_test: " + std::to_string(i) + '\n';
  const std::string last = all + "era_test: last\n";
  EXPECT_EQ(messages([](const command_line&) { return 0; }), all);
  EXPECT_EQ(messages([](const command_line&) -> int { throw pd::closed_pipe(); }), all);
  EXPECT_EQ(messages([](const command_line&) -> int { throw std::runtime_error("last"); }), last);
  EXPECT_EQ(messages([](const command_line& line) {
              line.say("last");
              return 0;
            }),
            last);
}

}  // namespace
}  // namespace era
