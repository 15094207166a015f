// SPDX-License-Identifier: GPL-3.0-or-later
// One backup with a state at a time, by whatever name. backup.bats tests other users.
#include "era/commands/backup_journal.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <optional>

#include "persistent-data/format/errors.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

using ::testing::HasSubstr;

class BackupJournal : public ::testing::Test {
 protected:
  std::string error_of(const std::string& state) const {
    try {
      const backup_journal opened(state);
      return "";
    } catch (const persistent_data::device_error& e) {
      return e.what();
    }
  }

  persistent_data::test::scratch_directory directory_;
  const std::string state_ = directory_ / "state";
};

TEST_F(BackupJournal, RemembersTheDevice) {
  {
    backup_journal journal(state_);
    EXPECT_EQ(journal.read().device, "");
    journal.write({"a_longer_name"});
    journal.write({"my_era"});
    EXPECT_EQ(journal.read().device, "my_era");
    EXPECT_TRUE(journal.read().may_hold_snapshot);
    journal.write({"my_era", false});
  }
  backup_journal journal(state_);
  EXPECT_EQ(journal.read().device, "my_era");
  EXPECT_FALSE(journal.read().may_hold_snapshot);
  journal.write({});
  EXPECT_EQ(journal.read().device, "");
  EXPECT_EQ(std::filesystem::file_size(journal.path()), 0u);
}

TEST_F(BackupJournal, IsForOneBackupAtATime) {
  std::filesystem::create_symlink("state", directory_ / "link");
  std::optional<backup_journal> first(directory_ / "link");  // which leads to nothing yet
  EXPECT_EQ(error_of(state_),
            state_ + ": another backup with this state is at work; wait until it has finished");
  directory_.file("state", "{}");
  EXPECT_THAT(error_of(directory_ / "link"), HasSubstr("is at work"));
  EXPECT_EQ(error_of(directory_ / "other"), "");
  first.reset();
  EXPECT_EQ(error_of(state_), "");
}

TEST_F(BackupJournal, MayBeWrittenByThoseWhoWriteTheState) {
  directory_.file("state", "{}");
  ::chmod(state_.c_str(), 0664);
  const backup_journal journal(state_);
  struct stat made {};
  ASSERT_EQ(::stat(journal.path().c_str(), &made), 0);
  EXPECT_EQ(made.st_mode & 0777, 0664u);
}

TEST_F(BackupJournal, IsNoOtherFile) {
  for (const char* text : {"my_era", "\n", "my_era\nor\n", "QFI\xfb", "a\nsuspended"}) {
    directory_.file("state.live", text);
    EXPECT_THAT(error_of(state_), HasSubstr("is there, and no journal of era_backup")) << text;
  }
  directory_.file("state.live", std::string(300, 'x') + '\n');
  EXPECT_THAT(error_of(state_), HasSubstr("no journal"));
  std::filesystem::remove(directory_ / "state.live");
  ASSERT_EQ(::mkfifo((directory_ / "state.live").c_str(), 0600), 0);
  EXPECT_THAT(error_of(state_), HasSubstr("no journal"));
  std::filesystem::remove(directory_ / "state.live");
  std::filesystem::create_symlink("elsewhere", directory_ / "state.live");
  EXPECT_NE(error_of(state_), "");
  EXPECT_FALSE(std::filesystem::exists(directory_ / "elsewhere"));
}

}  // namespace
}  // namespace era
