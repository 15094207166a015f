// SPDX-License-Identifier: GPL-3.0-or-later
// The command from its arguments to its exit status. functional-tests/sim.bats has the whole of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "era/commands/command_line.h"
#include "era/testing/command_run.h"
#include "era/testing/output_directory.h"

namespace era {
namespace {

using ::testing::HasSubstr;

class SimCommand : public test::output_directory {
 protected:
  test::command_result sim(const std::string& script) {
    std::ofstream(path("script")) << script;
    return test::run_command(
        sim_command, {"--metadata", path("m.img"), "--create-metadata", "1M", "--size", "1G",
                      "--block-size", "128", "--script", path("script")});
  }
};

TEST_F(SimCommand, RunsAScript) {
  const auto result = sim("write 0 8\nmessage checkpoint\nwrite 1280 8\n");
  EXPECT_EQ(result.status, exit_success) << result.err;
  const auto listed = test::run_command(
      invalidate_command, {"--written-since", "2", "--format", "text", path("m.img")});
  EXPECT_EQ(listed.out, "10 11\n") << listed.err;
}

TEST_F(SimCommand, NamesTheLineThatCannotBe) {
  const auto result = sim("write 0 8\nfly 5\n");
  EXPECT_EQ(result.status, exit_failure);
  EXPECT_THAT(result.err, HasSubstr(path("script") + ":2: "));
}

TEST_F(SimCommand, NeedsMetadata) {
  EXPECT_THAT(test::run_command(sim_command, {}).err, HasSubstr("--metadata"));
}

}  // namespace
}  // namespace era
