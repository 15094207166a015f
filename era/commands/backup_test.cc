// SPDX-License-Identifier: GPL-3.0-or-later
// The command from its arguments to its exit status. functional-tests/backup.bats has the whole of
// it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config.h"
#include "era/commands/command_line.h"
#include "era/testing/command_run.h"
#include "era/testing/image_builder.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

using ::testing::HasSubstr;

constexpr std::uint32_t nr_blocks = 100;
constexpr std::size_t block_bytes = 65536;

test::metadata_description in_era(std::uint32_t current, std::uint32_t newest_block) {
  return {.nr_blocks = nr_blocks,
          .current_era = current,
          .era_of = [=](std::uint64_t b) { return b == newest_block ? current : 1u; },
          .archived = {},
          .current = {}};
}

class BackupCommand : public ::testing::Test {
 protected:
  test::command_result backup(const test::built_metadata& m, std::vector<std::string> more) {
    std::vector<std::string> arguments{"--metadata", m.path(), "--source", source_};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return test::run_command(backup_command, arguments);
  }

  persistent_data::test::scratch_directory directory_;
  std::string source_ = directory_.random_file("source", nr_blocks* block_bytes, 1);
  std::string state_ = directory_ / "state", target_ = directory_ / "target";
};

TEST_F(BackupCommand, ContinuesFromItsState) {
  const test::built_metadata first(in_era(4, 7));
  auto result = backup(first, {"--state", state_, "--verify", target_});
  EXPECT_EQ(result.status, exit_success) << result.err;
  EXPECT_THAT(result.err, HasSubstr("all blocks are copied"));
  EXPECT_EQ(persistent_data::test::content_of(target_), persistent_data::test::content_of(source_));

  std::string data = persistent_data::test::content_of(source_);
  data.replace(9 * block_bytes, block_bytes, std::string(block_bytes, 'x'));
  directory_.file("source", data);
  const test::built_metadata second(
      {.nr_blocks = nr_blocks,
       .current_era = 6,
       .era_of = [](std::uint64_t b) { return b == 9   ? 6u
                                              : b == 7 ? 4u
                                                       : 1u; },
       .archived = {},
       .current = {}});
  result = backup(second, {"--state", state_, "--json", target_});
  EXPECT_EQ(result.status, exit_success) << result.err;
  EXPECT_THAT(result.out, HasSubstr("\"next_era\":7,\"blocks\":1,\"bytes\":65536"));
  EXPECT_TRUE(persistent_data::test::content_of(target_) == data);
}

TEST_F(BackupCommand, RefusesMetadataThatWasMadeAnew) {
  backup(test::built_metadata(in_era(4, 7)), {"--state", state_, target_});
  const std::string before = persistent_data::test::content_of(state_);
  const auto result = backup(test::built_metadata(in_era(9, 8)), {"--state", state_, target_});
  EXPECT_EQ(result.status, exit_failure);
  EXPECT_THAT(result.err, HasSubstr("block 7 was last written in era 4, and now in era 1"));
  EXPECT_EQ(persistent_data::test::content_of(state_), before);
}

#ifdef HAVE_LIBNBD
TEST_F(BackupCommand, MakesAnImage) {
  const test::built_metadata m(in_era(4, 7));
  const std::string image = directory_ / "image.qcow2";
  const auto result = backup(m, {"--full", "--verify", image});
  EXPECT_EQ(result.status, exit_success) << result.err;
  EXPECT_THAT(result.out, HasSubstr("100 blocks (6.2 MiB) copied to " + image));
  EXPECT_THAT(backup(m, {"--full", image}).err, HasSubstr("is there already"));
}
#endif

TEST_F(BackupCommand, RefusesWhatCannotBe) {
  const test::built_metadata m(in_era(4, 7));
  EXPECT_THAT(backup(m, {target_}).err, HasSubstr("nothing says since when"));
  EXPECT_THAT(backup(m, {"--full", source_}).err, HasSubstr("is the source itself"));
  EXPECT_THAT(backup(m, {"--written-since", "6", target_}).err, HasSubstr("cannot have begun"));
  EXPECT_THAT(backup(m, {"--metadata-snapshot", "--state", state_, target_}).err,
              HasSubstr("needs --next-era"));
}

}  // namespace
}  // namespace era
