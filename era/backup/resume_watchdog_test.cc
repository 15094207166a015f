// SPDX-License-Identifier: GPL-3.0-or-later
// The watchdog and each end that its parent can have; era_device_test.cc kills a real one.
#include "era/backup/resume_watchdog.h"

#include <gmock/gmock.h>
#include <sys/socket.h>

#include <chrono>

#include "era/testing/fake_device_mapper.h"
#include "persistent-data/io/unique_fd.h"

namespace era {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ResumeWatchdog : public ::testing::Test {
 protected:
  ResumeWatchdog() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
      throw std::runtime_error("socketpair");
    parent_ = persistent_data::unique_fd(ends[0]);
    child_ = persistent_data::unique_fd(ends[1]);
  }

  void tell(const char* text) { ASSERT_GT(::send(parent_.get(), text, 1, 0), 0); }
  int watch(std::chrono::milliseconds limit = 10min) {
    ::testing::internal::CaptureStderr();
    const int status =
        resume_watchdog::watch(child_.get(), dm, {.device = "my_era", .limit = limit});
    said = ::testing::internal::GetCapturedStderr();
    return status;
  }

  test::fake_device_mapper dm;
  persistent_data::unique_fd parent_, child_;
  std::string said;
};

TEST_F(ResumeWatchdog, HasNothingToDoAfterDone) {
  dm.state().suspended = true;  // by somebody else
  tell("s");
  tell("d");
  EXPECT_EQ(watch(), 0);
  EXPECT_THAT(dm.calls(), IsEmpty());
  EXPECT_EQ(said, "");
}

TEST_F(ResumeWatchdog, ResumesWhenItsParentIsGone) {
  dm.state().suspended = true;
  tell("s");
  parent_.reset();
  EXPECT_EQ(watch(), 0);
  EXPECT_THAT(dm.calls(), ElementsAre("resume"));
  EXPECT_THAT(said, HasSubstr("my_era was suspended, and is resumed"));
  EXPECT_THAT(said, HasSubstr("has ended"));
}

// A parent that dies within the suspend has not told that it is done.
TEST_F(ResumeWatchdog, ResumesWhenItsParentWasGoneEarly) {
  dm.state().suspended = true;
  parent_.reset();
  EXPECT_EQ(watch(), 0);
  EXPECT_THAT(dm.calls(), ElementsAre("resume"));
}

TEST_F(ResumeWatchdog, LeavesARunningDeviceAlone) {
  tell("s");
  parent_.reset();
  EXPECT_EQ(watch(), 0);
  EXPECT_THAT(dm.calls(), IsEmpty());
  EXPECT_EQ(said, "");
}

TEST_F(ResumeWatchdog, ResumesWhenItsParentHangs) {
  dm.state().suspended = true;
  tell("s");
  EXPECT_EQ(watch(1ms), 0);
  EXPECT_THAT(dm.calls(), ElementsAre("resume"));
  EXPECT_THAT(said, HasSubstr("took too long"));
}

TEST_F(ResumeWatchdog, NamesTheWayOut) {
  dm.state().suspended = true;
  dm.fails = "resume";
  parent_.reset();
  EXPECT_EQ(watch(), 1);
  EXPECT_EQ(said, "resume: Input/output error\nresume it: dmsetup resume my_era\n");
}

}  // namespace
}  // namespace era
