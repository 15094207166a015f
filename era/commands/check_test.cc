// SPDX-License-Identifier: GPL-3.0-or-later
// The command from its arguments to its exit status. functional-tests/check.bats has the whole of
// it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "era/commands/command_line.h"
#include "era/testing/command_run.h"
#include "era/testing/image_builder.h"
#include "era/testing/repaired.h"

namespace era {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

test::command_result check(std::vector<std::string> arguments) {
  return test::run_command(check_command, std::move(arguments));
}

TEST(CheckCommand, OfSoundMetadataSucceeds) {
  const test::built_metadata built(test::small_metadata());
  const auto result = check({built.path()});
  EXPECT_EQ(result.status, exit_success);
  EXPECT_THAT(result.out, EndsWith("found: nothing wrong\n"));
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(check({"--quiet", built.path()}).out, "");
}

TEST(CheckCommand, OfDamagedMetadataFails) {
  test::built_metadata built(test::small_metadata());
  test::lose(built, built.read_superblock().current_root);
  const auto result = check({built.path()});
  EXPECT_EQ(result.status, exit_failure);
  EXPECT_THAT(result.out, HasSubstr("found: 1 error, "));
  EXPECT_THAT(result.err, StartsWith("era_check: " + built.path() + ": metadata block "));
  const auto quiet = check({"-q", built.path()});
  EXPECT_EQ(quiet.status, exit_failure);
  EXPECT_EQ(quiet.out + quiet.err, "");
  EXPECT_THAT(check({"--json", built.path()}).out, StartsWith("{"));
}

TEST(CheckCommand, NeedsADevice) {
  EXPECT_THAT(check({}).err, HasSubstr("no device was named"));
  EXPECT_EQ(check({"/none"}).status, exit_failure);
}

}  // namespace
}  // namespace era
