// SPDX-License-Identifier: GPL-3.0-or-later
// The eras that may be asked for, and what is said of damage.
#include "era/commands/list_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "era/commands/metadata_source.h"
#include "era/testing/error_of.h"
#include "era/testing/image_builder.h"
#include "era/testing/repaired.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

using test::built_metadata;
using test::small_metadata;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::uint64_t end_of_eras = std::uint64_t{1} << 32;

struct answer {
  std::optional<std::uint64_t> listed;  // blocks
  std::string error, said;
};

answer ask(const std::string& path, const list_changes_options& options) {
  command_line line("era_test", "Tests.", "");
  pd::block_device device(path, access_to(options.from));
  answer result;
  ::testing::internal::CaptureStderr();
  result.error = test::error_of([&] {
    if (const auto found = list_changes(line, device, options))
      result.listed = found->listed.listed;
  });
  line.print_kept();
  result.said = ::testing::internal::GetCapturedStderr();
  return result;
}

answer ask_since(const built_metadata& built, std::uint64_t since,
                 list_changes_options options = {}) {
  options.window = {since, end_of_eras};
  return ask(built.path(), options);
}

list_changes_options options_of(source from, bool repair) {
  list_changes_options options{};
  options.from = from;
  options.repair = repair;
  return options;
}

// The current era of small_metadata() is 9. Era 10 begins when the device is activated.
TEST(ListChanges, AsksForNoEraThatCannotHaveBegun) {
  const built_metadata built(small_metadata());
  for (const bool repair : {false, true}) {
    EXPECT_EQ(ask_since(built, 9, options_of(source::live, repair)).listed, 1u);
    EXPECT_EQ(ask_since(built, 10, options_of(source::live, repair)).listed, 0u);
    const answer a = ask_since(built, 11, options_of(source::live, repair));
    EXPECT_FALSE(a.listed);
    EXPECT_THAT(a.error, HasSubstr("nothing is listed: era 11 cannot have begun, since the current "
                                   "era is 9"));
  }
}

TEST(ListChanges, AsksASnapshotForNoEraOfWhichItKnowsNothing) {
  built_metadata built(small_metadata());
  test::hold_snapshot(built);
  for (const bool repair : {false, true}) {
    const list_changes_options of_snapshot = options_of(source::snapshot, repair);
    EXPECT_EQ(ask_since(built, 7, of_snapshot).listed, 1u);
    EXPECT_EQ(ask_since(built, 8, of_snapshot).listed, 0u);
    const answer a = ask_since(built, 9, of_snapshot);
    EXPECT_FALSE(a.listed);
    EXPECT_THAT(a.error, HasSubstr("the metadata snapshot was taken when era 9 began, and knows "
                                   "nothing of era 9"));
  }
}

TEST(ListChanges, AsksASnapshotForAllBlocksInAnyEra) {
  built_metadata built({.nr_blocks = 100, .current_era = 0, .archived = {}, .current = {}});
  test::hold_snapshot(built);
  const answer a = ask_since(built, 0, options_of(source::snapshot, false));
  EXPECT_EQ(a.error, "");
  EXPECT_EQ(a.listed, 100u);
}

// Era 7 is the newest that a block names.
TEST(ListChanges, AsksForNoEraAfterAGuessedOne) {
  built_metadata built(small_metadata());
  test::lose(built, superblock_location.value);
  list_changes_options options = options_of(source::live, true);
  options.given.block_size = 128;
  options.given.nr_blocks = 3000;
  EXPECT_TRUE(ask_since(built, 8, options).listed);
  const answer a = ask_since(built, 9, options);
  EXPECT_FALSE(a.listed);
  EXPECT_THAT(a.error, HasSubstr("nothing is listed: era 9 may have begun, and the newest that is "
                                 "found is 8; give the current era with --current-era"));
  options.given.current_era = 8;
  EXPECT_EQ(ask_since(built, 9, options).error, "");
  EXPECT_THAT(ask_since(built, 10, options).error, HasSubstr("era 10 cannot have begun"));
}

TEST(ListChanges, ListsNothingOfDamagedMetadata) {
  built_metadata built(small_metadata());
  test::lose(built, test::leaf_value(built, built.read_superblock().era_array_root, 2));
  const answer a = ask_since(built, 7);
  EXPECT_FALSE(a.listed);
  EXPECT_EQ(a.error, "");
  EXPECT_THAT(a.said, HasSubstr("2036 to 2999"));
  EXPECT_THAT(a.said, HasSubstr(": is damaged: nothing is listed, since blocks that damage hides "
                                "would be missing; --repair lists them as written, too\n"));
}

// --repair would not help.
TEST(ListChanges, DoesNotCallOtherDataDamagedMetadata) {
  const pd::test::scratch_directory directory;
  list_changes_options options{};
  options.window = {7, end_of_eras};
  const answer a = ask(directory.file("dump", "<superblock" + std::string(65536, ' ')), options);
  EXPECT_FALSE(a.listed);
  EXPECT_THAT(a.said, HasSubstr("it is XML, not binary metadata"));
  EXPECT_THAT(a.said, Not(HasSubstr("--repair")));
}

TEST(ListChanges, SaysHowManyBlocksARepairAssumes) {
  built_metadata built(small_metadata());
  list_changes_options options = options_of(source::live, true);
  options.in_doubt = "blocks are copied";
  EXPECT_EQ(ask_since(built, 7, options).said, "");
  test::lose(built, test::leaf_value(built, built.read_superblock().era_array_root, 2));
  const answer a = ask_since(built, 7, options);
  EXPECT_EQ(a.listed, 966u);
  EXPECT_THAT(a.said, EndsWith(": is damaged: 964 of the 966 blocks are copied only because it is "
                               "unknown when they were written\n"));
}

// The caller knows better why an era cannot be.
TEST(ListChanges, TellsTheCurrentEraFirst) {
  const built_metadata built(small_metadata());
  for (const bool repair : {false, true}) {
    list_changes_options options = options_of(source::live, repair);
    options.opened = [](era_nr current) {
      EXPECT_EQ(current, era_nr{9});
      throw pd::invalid_input("not this one");
    };
    const answer a = ask_since(built, 11, options);
    EXPECT_EQ(a.error, "not this one");
  }
}

TEST(ListChanges, TellsNoEraOfMetadataThatCannotBeOpened) {
  built_metadata built(small_metadata());
  test::lose(built, built.read_superblock().writeset_tree_root);
  list_changes_options options{};
  options.opened = [](era_nr) { ADD_FAILURE(); };
  const answer a = ask_since(built, 7, options);
  EXPECT_FALSE(a.listed);
  EXPECT_THAT(a.said, HasSubstr("nothing is listed"));
}

}  // namespace
}  // namespace era
