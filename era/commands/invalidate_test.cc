// SPDX-License-Identifier: GPL-3.0-or-later
// The command from its arguments to its exit status. functional-tests/invalidate.bats has the whole
// of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "era/commands/command_line.h"
#include "era/testing/command_run.h"
#include "era/testing/image_builder.h"
#include "era/testing/repaired.h"

namespace era {
namespace {

using ::testing::HasSubstr;

test::command_result invalidate(std::vector<std::string> arguments) {
  return test::run_command(invalidate_command, std::move(arguments));
}

TEST(InvalidateCommand, ListsChangedBlocks) {
  const test::built_metadata built(test::small_metadata());
  for (const std::vector<std::string>& more : {std::vector<std::string>{}, {"--repair"}}) {
    std::vector<std::string> arguments{"--written-since", "7", "--format", "text", built.path()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto result = invalidate(arguments);
    EXPECT_EQ(result.status, exit_success);
    EXPECT_EQ(result.out, "20 21\n30 31\n");
    EXPECT_EQ(result.err, "");
  }
}

TEST(InvalidateCommand, ListsNothingOfDamagedMetadataUnlessItRepairs) {
  test::built_metadata built(test::small_metadata());
  test::lose(built, test::leaf_value(built, built.read_superblock().era_array_root, 2));
  const auto refused = invalidate({"--written-since", "7", built.path()});
  EXPECT_EQ(refused.status, exit_failure);
  EXPECT_EQ(refused.out, "");
  EXPECT_THAT(refused.err, HasSubstr("nothing is listed"));
  const auto repaired =
      invalidate({"--repair", "--written-since", "7", "--format", "text", built.path()});
  EXPECT_EQ(repaired.status, exit_success);
  EXPECT_EQ(repaired.out, "20 21\n30 31\n2036 3000\n");
  EXPECT_THAT(repaired.err, HasSubstr("964 of the 966 blocks listed"));
}

TEST(InvalidateCommand, RefusesWhatCannotBe) {
  EXPECT_THAT(invalidate({"m.img"}).err, HasSubstr("--written-since"));
  EXPECT_THAT(invalidate({"--written-since", "3", "--written-before", "3", "m.img"}).err,
              HasSubstr("there is no era between"));
  EXPECT_THAT(invalidate({"--written-since", "3", "--device-size", "8", "m.img"}).err,
              HasSubstr("--device-size has no effect"));
}

}  // namespace
}  // namespace era
