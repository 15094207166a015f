// SPDX-License-Identifier: GPL-3.0-or-later
// One backup with a state at a time, by whatever name.
#include "era/commands/backup_journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

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
    EXPECT_EQ(journal.device(), "");
    journal.note("a_longer_name");
    journal.note("my_era");
    EXPECT_EQ(journal.device(), "my_era");
  }
  backup_journal journal(state_);
  EXPECT_EQ(journal.device(), "my_era");
  journal.note("");
  EXPECT_EQ(journal.device(), "");
  EXPECT_EQ(journal.path(), state_ + ".live");
}

TEST_F(BackupJournal, IsForOneBackupAtATime) {
  std::filesystem::create_symlink("state", directory_ / "link");
  directory_.file("state", "{}");
  std::optional<backup_journal> first(state_);
  EXPECT_EQ(error_of(state_),
            state_ + ": another backup with this state is at work; wait until it has finished");
  EXPECT_THAT(error_of(directory_ / "link"), HasSubstr("is at work"));
  EXPECT_EQ(error_of(directory_ / "other"), "");
  first.reset();
  EXPECT_EQ(error_of(directory_ / "link"), "");
}

// In a directory that may not be written to, a state is overwritten in its place.
TEST_F(BackupJournal, LocksTheStateIfItCannotBeMade) {
  directory_.file("state", "{}");
  const bool is_root = ::geteuid() == 0;
  constexpr uid_t nobody = 65534;
  ::chmod((directory_ / "").c_str(), 0555);
  if (is_root) {
    ASSERT_EQ(::seteuid(nobody), 0);
  }
  {
    backup_journal first(state_);
    EXPECT_THAT(error_of(state_), HasSubstr("is at work"));
    EXPECT_EQ(first.device(), "");
    EXPECT_THROW(first.note("my_era"), persistent_data::device_error);
  }
  EXPECT_EQ(error_of(state_), "");
  EXPECT_EQ(error_of(directory_ / "new"), "");
  if (is_root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  ::chmod((directory_ / "").c_str(), 0755);
}

}  // namespace
}  // namespace era
