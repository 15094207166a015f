// SPDX-License-Identifier: GPL-3.0-or-later
// The command from its arguments to its exit status. functional-tests/restore.bats has the whole of
// it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "era/commands/command_line.h"
#include "era/testing/command_run.h"
#include "era/testing/image_builder.h"
#include "era/testing/output_directory.h"
#include "era/testing/repaired.h"

namespace era {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class RestoreCommand : public test::output_directory {
 protected:
  RestoreCommand() {
    std::ofstream(path("out")) << "";
    std::filesystem::resize_file(path("out"), 1 << 20);
  }
};

TEST_F(RestoreCommand, MakesTheMetadataThatWasDumped) {
  const test::built_metadata built(test::small_metadata());
  const auto dumped = test::run_command(dump_command, {built.path(), "-o", path("m.xml.gz")});
  ASSERT_EQ(dumped.status, exit_success) << dumped.err;
  const auto result =
      test::run_command(restore_command, {"-i", path("m.xml.gz"), "-o", path("out")});
  EXPECT_EQ(result.status, exit_success);
  EXPECT_EQ(result.out + result.err, "");
  const auto logical = [](const std::string& of) {
    return test::run_command(dump_command, {"--logical", of}).out;
  };
  EXPECT_TRUE(logical(path("out")) == logical(built.path()));
}

TEST_F(RestoreCommand, NamesTheLineOfBadInput) {
  std::ofstream(path("m.xml")) << "<superblock uuid=\"\" block_size=\"128\" nr_blocks=\"5\" "
                                  "current_era=\"1\">\n  <era_array>\n    <node block=\"7\"/>\n";
  const auto result = test::run_command(restore_command, {"-i", path("m.xml"), "-o", path("out")});
  EXPECT_EQ(result.status, exit_failure);
  EXPECT_THAT(result.err, StartsWith("era_restore: " + path("m.xml") + ":3: "));
  EXPECT_THAT(result.err, HasSubstr(path("out") + ": is wiped and holds no metadata"));
}

// The reader checks each line, and the order of eras is known only after the last one.
TEST_F(RestoreCommand, NamesTheInputWhoseErasAreOutOfOrder) {
  std::ofstream(path("m.xml"))
      << "<superblock uuid=\"\" block_size=\"128\" nr_blocks=\"1\" current_era=\"9\">\n"
         "  <writeset era=\"5\" nr_bits=\"1\"><marked block_begin=\"0\" len=\"1\"/></writeset>\n"
         "  <era_array><era block=\"0\" era=\"6\"/></era_array>\n</superblock>\n";
  const auto result = test::run_command(restore_command, {"-i", path("m.xml"), "-o", path("out")});
  EXPECT_EQ(result.status, exit_failure);
  EXPECT_THAT(result.err, StartsWith("era_restore: " + path("m.xml") + ": "));
  EXPECT_THAT(result.err, HasSubstr("restore what era_dump --logical prints"));
  EXPECT_THAT(result.err, HasSubstr(path("out") + ": is wiped and holds no metadata"));
}

TEST_F(RestoreCommand, NeedsItsInput) {
  const auto result = test::run_command(restore_command, {"-i", path("none"), "-o", path("out")});
  EXPECT_EQ(result.status, exit_failure);
  EXPECT_THAT(result.err, HasSubstr(path("none")));
  EXPECT_EQ(content(path("out")), std::string(1 << 20, '\0'));
}

}  // namespace
}  // namespace era
