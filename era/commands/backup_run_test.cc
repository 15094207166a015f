// SPDX-License-Identifier: GPL-3.0-or-later
// The end of a backup: growth mark, image and state, in their order. functional-tests/backup.bats
// and backup_images.bats have whole nights.
#include "era/commands/backup_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <stdexcept>

#include "era/backup/growth_mark.h"
#include "era/commands/state_file.h"
#include "era/testing/command_run.h"
#include "era/testing/error_of.h"
#include "era/testing/image_builder.h"
#include "era/testing/qemu_images.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

using pd::test::content_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr std::uint32_t sectors_per_block = 8;
constexpr std::uint64_t block_bytes = std::uint64_t{sectors_per_block} * pd::sector_size;
constexpr std::uint32_t old_blocks = 10, new_blocks = 20;
constexpr std::uint64_t old_bytes = old_blocks * block_bytes, new_bytes = new_blocks * block_bytes;
constexpr std::uint64_t readable_bytes = 15 * block_bytes;

test::metadata_description in_era(std::uint32_t current, std::uint32_t nr_blocks) {
  return {.nr_blocks = nr_blocks,
          .current_era = current,
          .data_block_size = sectors_per_block,
          .era_of = [](std::uint64_t) { return 1u; },
          .archived = {},
          .current = {}};
}

// The device had 10 blocks at the last backup, in era 4, and has 20 now, in era 6.
class BackupRun : public ::testing::Test {
 protected:
  BackupRun() {
    fs::create_directory(directory_ / "states");
    chosen_.metadata = now_.path();
    chosen_.source = directory_.random_file("source", new_bytes, 1);
    chosen_.target = directory_.file("target", content_of(chosen_.source).substr(0, old_bytes));
    chosen_.written_since = 5;
    chosen_.keep_going = chosen_.quiet = true;
  }

  void grow() { directory_.random_file("source", new_bytes, 1); }

  // The last backup is one with a state.
  void use_state() {
    const test::built_metadata last(in_era(4, old_blocks));
    fs::resize_file(chosen_.source, old_bytes);
    chosen_.metadata = last.path();
    chosen_.state = directory_ / "states/state";
    chosen_.written_since.reset();
    run();
    chosen_.metadata = now_.path();
    grow();
    before_ = content_of(chosen_.state);
  }
  void use_image() {
    chosen_.target = directory_ / "image.qcow2";
    if (chosen_.state.empty()) chosen_.backing = directory_ / "target";
  }

  // Returns the exit status, or -1 after an exception.
  int run(const backup_callbacks& callbacks = {}) {
    command_line line("era_backup", "", "");
    std::optional<int> status;
    const auto result = test::run_command(
        [&](int, char**) {
          error_ = test::error_of<std::exception>(
              [&] { status = run_backup(line, chosen_, callbacks); });
          return 0;
        },
        {});
    out_ = result.out;
    err_ = result.err;
    return status.value_or(-1);
  }
  // The last five blocks cannot be read.
  int run_with_unread() {
    return run({.metadata_was_read = [&] { fs::resize_file(chosen_.source, readable_bytes); }});
  }
  // The state cannot be written, and is there again afterwards.
  int run_without_place_for_state(std::uint64_t source_bytes) {
    const int status = run({.metadata_was_read = [&] {
      fs::resize_file(chosen_.source, source_bytes);
      fs::rename(directory_ / "states", directory_ / "moved");
    }});
    fs::rename(directory_ / "moved", directory_ / "states");
    return status;
  }

  plain_image_size target() const { return measure_plain_image(directory_ / "target"); }
  void expect_mark() const {
    EXPECT_TRUE(target().is_marked);
    EXPECT_EQ(target().held_bytes, old_bytes);
    EXPECT_EQ(target().bytes, new_bytes);
  }
  void expect_whole() const {
    EXPECT_FALSE(target().is_marked);
    EXPECT_TRUE(content_of(directory_ / "target") == content_of(chosen_.source));
  }

  const pd::test::scratch_directory directory_;
  const test::built_metadata now_{in_era(6, new_blocks)};
  std::string before_;  // the last state
  std::string error_, out_, err_;
  backup_options chosen_{};
};

TEST_F(BackupRun, TakesAwayTheMarkIfNothingIsMissing) {
  EXPECT_EQ(run(), exit_success) << error_;
  expect_whole();
}

TEST_F(BackupRun, TakesAwayTheMarkBeforeTheStateIsWritten) {
  use_state();
  EXPECT_EQ(run_without_place_for_state(new_bytes), -1);
  EXPECT_THAT(error_, HasSubstr("states/state: "));
  expect_whole();
  EXPECT_EQ(content_of(chosen_.state), before_);
  EXPECT_EQ(run(), exit_success) << error_;
  EXPECT_EQ(read_state(chosen_.state)->source_bytes, new_bytes);
}

TEST_F(BackupRun, LeavesItToTheStateToRememberMissingBlocks) {
  use_state();
  EXPECT_EQ(run_with_unread(), exit_failure) << error_;
  EXPECT_THAT(err_, HasSubstr("5 of 10 blocks could not be read, and the backup lacks them; the "
                              "next run copies them again"));
  EXPECT_THAT(read_state(chosen_.state)->unread, ElementsAre(origin_range{15, 20}));
  EXPECT_FALSE(target().is_marked);
  grow();
  EXPECT_EQ(run(), exit_success) << error_;
  expect_whole();
}

TEST_F(BackupRun, KeepsTheMarkUntilTheStateRemembersMissingBlocks) {
  use_state();
  EXPECT_EQ(run_without_place_for_state(readable_bytes), -1);
  EXPECT_THAT(error_, HasSubstr("states/state: "));
  expect_mark();
  EXPECT_EQ(content_of(chosen_.state), before_);
}

TEST_F(BackupRun, KeepsTheMarkIfNothingElseRemembersMissingBlocks) {
  EXPECT_EQ(run_with_unread(), exit_failure) << error_;
  expect_mark();
  grow();
  EXPECT_EQ(run(), exit_success) << error_;
  expect_whole();
}

// The next backup copies all blocks again.
TEST_F(BackupRun, TakesAwayTheMarkOfAFullBackupThatLacksBlocks) {
  chosen_.written_since.reset();
  chosen_.full = true;
  chosen_.quiet = false;
  EXPECT_EQ(run_with_unread(), exit_failure) << error_;
  EXPECT_FALSE(target().is_marked);
  EXPECT_EQ(target().bytes, new_bytes);
  EXPECT_THAT(out_, HasSubstr("next time: --written-since 0\n"));
}

TEST_F(BackupRun, KeepsMarkAndStateIfItIsStopped) {
  use_state();
  EXPECT_EQ(run({.check_signals = [] { throw std::runtime_error("stopped"); }}), -1);
  EXPECT_EQ(error_, "stopped");
  expect_mark();
  EXPECT_EQ(content_of(chosen_.state), before_);
}

TEST_F(BackupRun, GivesUpTheStateBeforeAFullBackupWrites) {
  use_state();
  chosen_.full = true;
  const auto expect_as_before = [&] { EXPECT_EQ(content_of(chosen_.state), before_); };
  EXPECT_EQ(run({.metadata_was_read = expect_as_before,
                 .check_signals = [] { throw std::runtime_error("stopped"); }}),
            -1);
  EXPECT_EQ(error_, "stopped");
  EXPECT_FALSE(read_state(chosen_.state)->is_complete());
  EXPECT_EQ(run(), exit_success) << error_;
  EXPECT_TRUE(read_state(chosen_.state)->is_complete());
}

TEST_F(BackupRun, CopiesNothingIfItsStateCouldNotBeWritten) {
  use_state();
  fs::rename(directory_ / "source", directory_ / "source\xff");
  chosen_.source = directory_ / "source\xff";
  EXPECT_EQ(run({.metadata_was_read = [] { ADD_FAILURE(); }}), -1);
  EXPECT_THAT(error_, HasSubstr("UTF-8"));
  EXPECT_EQ(target().bytes, old_bytes);
}

class BackupRunOfAnImage : public BackupRun {
 protected:
  void SetUp() override {
    if (const auto why = test::why_no_images()) GTEST_SKIP() << *why;
  }
};

TEST_F(BackupRunOfAnImage, IsNotMadeIfNothingRemembersMissingBlocks) {
  use_image();
  EXPECT_EQ(run_with_unread(), -1);
  EXPECT_THAT(error_, HasSubstr("image.qcow2: is not made: blocks past the end of the last backup "
                                "could not be read, and only a state remembers them"));
  EXPECT_FALSE(fs::exists(chosen_.target));
}

TEST_F(BackupRunOfAnImage, IsMadeIfTheStateRemembersMissingBlocks) {
  use_state();
  use_image();
  EXPECT_EQ(run_with_unread(), exit_failure) << error_;
  EXPECT_THAT(read_state(chosen_.state)->unread, ElementsAre(origin_range{15, 20}));
  grow();
  chosen_.target = directory_ / "next.qcow2";
  EXPECT_EQ(run(), exit_success) << error_;
  EXPECT_TRUE(test::data_of_image(chosen_.target, directory_ / "plain") ==
              content_of(chosen_.source));
}

TEST_F(BackupRunOfAnImage, IsTakenBackIfTheStateCannotBeWritten) {
  use_state();
  use_image();
  EXPECT_EQ(run_without_place_for_state(new_bytes), -1);
  EXPECT_THAT(error_, HasSubstr("states/state: "));
  EXPECT_FALSE(fs::exists(chosen_.target));
  EXPECT_EQ(content_of(chosen_.state), before_);
}

}  // namespace
}  // namespace era
