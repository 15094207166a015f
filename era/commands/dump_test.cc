// SPDX-License-Identifier: GPL-3.0-or-later
// The command from its arguments to its exit status. functional-tests/dump.bats has the whole of
// it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "era/commands/command_line.h"
#include "era/testing/command_run.h"
#include "era/testing/image_builder.h"
#include "era/testing/repaired.h"

namespace era {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

test::command_result dump(std::vector<std::string> arguments) {
  return test::run_command(dump_command, std::move(arguments));
}

TEST(DumpCommand, PrintsSoundMetadata) {
  const test::built_metadata built(test::small_metadata());
  const auto result = dump({"--compact", built.path()});
  EXPECT_EQ(result.status, exit_success);
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(result.out,
              StartsWith("<superblock uuid=\"\" block_size=\"128\" nr_blocks=\"3000\""));
  EXPECT_THAT(result.out, HasSubstr("<range block_begin=\"0\" len=\"1500\" era=\"1\"/>"));
  EXPECT_THAT(dump({"--compact", "--logical", built.path()}).out,
              HasSubstr("<range block_begin=\"30\" len=\"1\" era=\"9\"/>"));
}

TEST(DumpCommand, RefusesDamagedMetadataUnlessItRepairs) {
  test::built_metadata built(test::small_metadata());
  test::lose(built, built.read_superblock().current_root);
  const auto refused = dump({built.path()});
  EXPECT_EQ(refused.status, exit_failure);
  EXPECT_EQ(refused.out, "");
  EXPECT_THAT(refused.err, HasSubstr("is damaged: not dumped"));
  const auto repaired = dump({"--repair", "--compact", "--logical", built.path()});
  EXPECT_EQ(repaired.status, exit_success);
  EXPECT_THAT(repaired.out, HasSubstr("<range block_begin=\"0\" len=\"3000\" era=\"9\"/>"));
}

TEST(DumpCommand, OptionsForARepairNeedOne) {
  EXPECT_THAT(dump({"--nr-blocks", "5", "m.img"}).err, HasSubstr("--repair"));
}

}  // namespace
}  // namespace era
