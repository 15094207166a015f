// SPDX-License-Identifier: GPL-3.0-or-later
// The command from its arguments to its exit status. functional-tests/repair.bats has the whole of
// it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "era/commands/command_line.h"
#include "era/testing/command_run.h"
#include "era/testing/image_builder.h"
#include "era/testing/output_directory.h"
#include "era/testing/repaired.h"

namespace era {
namespace {

using ::testing::HasSubstr;

using RepairCommand = test::output_directory;

TEST_F(RepairCommand, WritesSoundMetadata) {
  test::built_metadata built(test::small_metadata());
  test::lose(built, built.read_superblock().current_root);
  std::ofstream(path("out")) << std::string(1 << 20, '\0');
  const auto result = test::run_command(repair_command, {"-i", built.path(), "-o", path("out")});
  EXPECT_EQ(result.status, exit_success);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("3000 of 3000 origin blocks are marked as written"));
  EXPECT_EQ(test::run_command(check_command, {path("out")}).status, exit_success);
}

TEST_F(RepairCommand, SaysThatTheDeviceCannotGoOnAfterTheLastEra) {
  for (const std::uint32_t era : {max_current_era, max_current_era - 1}) {
    test::metadata_description d;
    d.nr_blocks = 100;
    d.current_era = era;
    const test::built_metadata built(d);
    std::ofstream(path("out")) << std::string(1 << 20, '\0');
    const auto result = test::run_command(repair_command, {"-i", built.path(), "-o", path("out")});
    EXPECT_EQ(result.status, exit_success);
    EXPECT_EQ(
        result.err.find("era 4294967294 is the last one that there can be") != std::string::npos,
        era == max_current_era)
        << result.err;
  }
}

TEST_F(RepairCommand, LeavesTheOutputIfThereIsNothingToSave) {
  std::ofstream(path("in")) << std::string(1 << 20, 'x');
  std::ofstream(path("out")) << "other";
  const auto result = test::run_command(repair_command, {"-i", path("in"), "-o", path("out")});
  EXPECT_EQ(result.status, exit_failure);
  EXPECT_NE(result.err, "");
  EXPECT_EQ(content(path("out")), "other");
}

TEST_F(RepairCommand, NeedsAnInputAndAnOutput) {
  EXPECT_THAT(test::run_command(repair_command, {"-o", path("out")}).err, HasSubstr("--input"));
  EXPECT_THAT(test::run_command(repair_command, {"-i", path("in")}).err, HasSubstr("--output"));
}

}  // namespace
}  // namespace era
