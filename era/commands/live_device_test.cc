// SPDX-License-Identifier: GPL-3.0-or-later
// The state of a live device, and its journal, however a backup ends.
#include "era/commands/live_device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <system_error>

#include "era/testing/fake_device_mapper.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class LiveDevice : public ::testing::Test {
 protected:
  live_device_options options(const std::string& command) const {
    return {.name = test::fake_device_mapper::name,
            .command = {.shell = command},
            .wait_for = [](int fd) {
              pollfd waited{fd, POLLIN, 0};
              ::poll(&waited, 1, -1);
            }};
  }
  std::string journal() const { return pd::test::content_of(directory_ / "state.live"); }
  std::string error_of(const std::string& command) {
    try {
      backup_journal journal(directory_ / "state");
      live_device device(line_, options(command), journal, mapper_);
      return "";
    } catch (const pd::device_error& e) {
      return e.what();
    }
  }

  pd::test::scratch_directory directory_;
  test::fake_device_mapper mapper_;
  command_line line_{"era_backup", "", ""};
};

TEST_F(LiveDevice, IsHeldUntilItIsReleased) {
  mapper_.at_suspend = [&] { EXPECT_EQ(journal(), "my_era\n"); };
  {
    backup_journal its_journal(directory_ / "state");
    live_device device(line_, options("true"), its_journal, mapper_);
    EXPECT_EQ(device.next_era(), era_nr{8});
    EXPECT_EQ(device.metadata(), "/dev/node-253-1");
    EXPECT_EQ(journal(), "my_era\n");
    EXPECT_TRUE(mapper_.state().has_metadata_snapshot);
    device.release();
    EXPECT_FALSE(mapper_.state().has_metadata_snapshot);
    EXPECT_EQ(journal(), "");
  }
  EXPECT_THAT(mapper_.calls(), ElementsAre("suspend", "resume", "message take_metadata_snap",
                                           "message drop_metadata_snap"));
}

TEST_F(LiveDevice, IsReleasedByAnException) {
  try {
    backup_journal its_journal(directory_ / "state");
    live_device device(line_, options("true"), its_journal, mapper_);
    throw std::runtime_error("copying failed");
  } catch (const std::runtime_error&) {
  }
  EXPECT_FALSE(mapper_.state().has_metadata_snapshot);
  EXPECT_EQ(journal(), "");
}

TEST_F(LiveDevice, IsResumedIfTheCommandFails) {
  EXPECT_THAT(error_of("exit 3"), HasSubstr("exit status 3"));
  EXPECT_FALSE(mapper_.state().suspended);
  EXPECT_FALSE(mapper_.state().has_metadata_snapshot);
  EXPECT_EQ(journal(), "");
}

TEST_F(LiveDevice, IsResumedByTheNextRunIfItCouldNotBe) {
  mapper_.fails = "resume";
  EXPECT_THAT(error_of("true"), HasSubstr("dmsetup resume my_era"));
  EXPECT_TRUE(mapper_.state().suspended);
  EXPECT_EQ(journal(), "my_era\nsuspended\n");
  mapper_.fails = "";
  testing::internal::CaptureStderr();
  EXPECT_EQ(error_of("true"), "");
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("the device is resumed"));
  EXPECT_FALSE(mapper_.state().suspended);
}

// It may have taken a metadata snapshot only after it was resumed: one that is there is not its.
TEST_F(LiveDevice, ThatCouldNotBeResumedKeepsTheSnapshotOfSomebodyElse) {
  mapper_.fails = "resume";
  error_of("true");
  mapper_.fails = "";
  mapper_.resume(test::fake_device_mapper::name);
  mapper_.state().has_metadata_snapshot = true;
  EXPECT_THAT(error_of("true"), HasSubstr("drop_metadata_snap"));
  EXPECT_TRUE(mapper_.state().has_metadata_snapshot);
  EXPECT_EQ(journal(), "");
}

// The first error is the one that counts.
TEST_F(LiveDevice, SaysIfItsJournalCannotBeForgotten) {
  const std::string path = directory_ / "state.live";
  mapper_.at_suspend = [&] {
    int replaced = 0;
    const pd::unique_fd only_read(::open(path.c_str(), O_RDONLY));
    for (int fd = 0; fd < 1024; ++fd) {
      std::error_code ignored;
      const auto file = std::filesystem::read_symlink(fmt::format("/proc/self/fd/{}", fd), ignored);
      if (file != path || fd == only_read.get()) continue;
      ::dup2(only_read.get(), fd);
      ++replaced;
    }
    EXPECT_EQ(replaced, 1);
  };
  testing::internal::CaptureStderr();
  EXPECT_THAT(error_of("exit 3"), HasSubstr("exit status 3"));
  EXPECT_THAT(
      testing::internal::GetCapturedStderr(),
      HasSubstr("state.live: Invalid argument; the next backup may take this one for unfinished"));
  EXPECT_FALSE(mapper_.state().suspended);
}

TEST_F(LiveDevice, IsCleanedUpAfterAKill) {
  directory_.file("state.live", "my_era\n");
  mapper_.state().suspended = true;
  mapper_.state().has_metadata_snapshot = true;
  testing::internal::CaptureStderr();
  {
    backup_journal its_journal(directory_ / "state");
    const live_device device(line_, options("true"), its_journal, mapper_);
  }
  EXPECT_EQ(
      testing::internal::GetCapturedStderr(),
      "era_backup: my_era: the last backup did not finish: the device is resumed, and its metadata "
      "snapshot is dropped\n");
  EXPECT_FALSE(mapper_.state().suspended);
}

TEST_F(LiveDevice, OfAnotherJournalIsLeftAlone) {
  directory_.file("state.live", "other\n");
  mapper_.state().has_metadata_snapshot = true;
  EXPECT_THAT(error_of("true"), HasSubstr("a backup of other did not finish"));
  EXPECT_THAT(mapper_.calls(), IsEmpty());
  EXPECT_EQ(journal(), "other\n");
}

TEST_F(LiveDevice, ShowsWhatTheCommandSays) {
  for (const bool quiet : {false, true}) {
    live_device_options chosen = options("echo made; echo careful >&2");
    chosen.is_quiet = quiet;
    testing::internal::CaptureStderr();
    {
      backup_journal its_journal(directory_ / "state");
      const live_device device(line_, chosen, its_journal, mapper_);
    }
    EXPECT_EQ(testing::internal::GetCapturedStderr(),
              quiet ? "" : "era_backup: the snapshot command says:\nmade\ncareful\n");
  }
}

// Without the journal, the metadata snapshot may be somebody else's.
TEST_F(LiveDevice, OfSomebodyElseIsLeftAlone) {
  mapper_.state().has_metadata_snapshot = true;
  EXPECT_THAT(error_of("true"), HasSubstr("drop_metadata_snap"));
  EXPECT_TRUE(mapper_.state().has_metadata_snapshot);
  EXPECT_EQ(journal(), "");
}

TEST_F(LiveDevice, SaysIfItCannotBeReleased) {
  backup_journal its_journal(directory_ / "state");
  std::optional<live_device> device;
  device.emplace(line_, options("true"), its_journal, mapper_);
  mapper_.fails = "message";
  testing::internal::CaptureStderr();
  device.reset();
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("my_era: the metadata snapshot is still held"));
  // The next run drops it.
  EXPECT_EQ(journal(), "my_era\n");
}

}  // namespace
}  // namespace era
