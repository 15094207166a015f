// SPDX-License-Identifier: GPL-3.0-or-later
// The command from its arguments to its exit status. functional-tests/invalidate.bats has the whole
// of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "era/commands/command_line.h"
#include "era/testing/command_run.h"
#include "era/testing/image_builder.h"
#include "era/testing/output_directory.h"
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

// Blocks 20 and 30 have changed; of 128 sectors, and the cache's of 64.
class InvalidateCache : public test::output_directory {
 protected:
  InvalidateCache() {
    std::ofstream(dump_) << "<superblock uuid=\"\" block_size=\"64\" nr_cache_blocks=\"9\" "
                            "policy=\"smq\" hint_width=\"4\"><mappings>\n"
                            "<mapping cache_block=\"2\" origin_block=\"60\" dirty=\"false\"/>\n"
                            "<mapping cache_block=\"3\" origin_block=\"41\" dirty=\"false\"/>\n"
                            "<mapping cache_block=\"5\" origin_block=\"42\" dirty=\"true\"/>\n"
                            "<mapping cache_block=\"7\" origin_block=\"59\" dirty=\"false\"/>\n"
                            "</mappings></superblock>\n";
  }
  test::command_result list(std::vector<std::string> more) const {
    more.insert(more.end(), {"--written-since", "7", "--cache", dump_, built_.path()});
    return invalidate(std::move(more));
  }

  const std::string dump_ = path("dump.xml");
  const test::built_metadata built_{test::small_metadata()};
};

TEST_F(InvalidateCache, ListsStaleBlocks) {
  const auto result = list({"--format", "messages"});
  EXPECT_EQ(result.status, exit_success);
  EXPECT_EQ(result.out, "invalidate_cblocks 2-4 5\n");
  EXPECT_THAT(result.err, HasSubstr("1 of the 3 cache blocks listed are dirty"));
  EXPECT_EQ(list({"--format", "text", "--cache-offset", "64"}).out, "3 4\n5 6\n");
}

TEST_F(InvalidateCache, ListsNothingIfItIsNotSure) {
  const auto dirty = list({"--require-clean"});
  EXPECT_EQ(dirty.status, exit_failure);
  EXPECT_EQ(dirty.out, "");
  EXPECT_THAT(dirty.err, HasSubstr("nothing is listed: 1 blocks of the era device are dirty"));
  std::filesystem::resize_file(dump_, std::filesystem::file_size(dump_) - 20);
  const auto truncated = list({});
  EXPECT_EQ(truncated.status, exit_failure);
  EXPECT_EQ(truncated.out, "");
  EXPECT_THAT(truncated.err, HasSubstr("dump.xml:6: the file ends here"));
  EXPECT_THAT(truncated.err, HasSubstr("nothing is listed: give the whole output of cache_dump"));
}

TEST(InvalidateCommand, RefusesWhatCannotBe) {
  EXPECT_THAT(invalidate({"m.img"}).err, HasSubstr("--written-since"));
  EXPECT_THAT(invalidate({"--written-since", "3", "--written-before", "3", "m.img"}).err,
              HasSubstr("there is no era between"));
  EXPECT_THAT(invalidate({"--written-since", "3", "--device-size", "8", "m.img"}).err,
              HasSubstr("--device-size has no effect"));
  EXPECT_THAT(invalidate({"--written-since", "3", "--format", "messages", "m.img"}).err,
              HasSubstr("--format messages has no effect without --cache"));
}

}  // namespace
}  // namespace era
