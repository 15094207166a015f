// SPDX-License-Identifier: GPL-3.0-or-later
// The command by itself. era_device_test.cc has it run while a device is suspended, with signals,
// time limits and ends of all kinds.
#include "era/backup/snapshot_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <stdexcept>

#include "era/testing/error_of.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

using namespace std::chrono_literals;
using test::error_of;
using ::testing::HasSubstr;

void wait_for(int fd) {
  pollfd watched{fd, POLLIN, 0};
  ::poll(&watched, 1, -1);
}

std::string output_of(const std::string& shell) {
  snapshot_command command({.shell = shell}, {{"ERA_TEST", "a value"}});
  command.run(wait_for);
  return command.output();
}

TEST(SnapshotCommand, IsRunByAShell) {
  EXPECT_EQ(output_of("echo \"$ERA_TEST\"; echo error >&2"), "a value\nerror\n");
  EXPECT_EQ(output_of("cat"), "");
}

TEST(SnapshotCommand, NamesItselfIfItFails) {
  EXPECT_EQ(error_of([] { output_of("echo why; exit 3"); }),
            "the snapshot command failed with exit status 3: echo why; exit 3; it printed: why");
  EXPECT_THAT(error_of([] { output_of("kill -9 $$"); }), HasSubstr("was killed by a signal"));
}

TEST(SnapshotCommand, StartsWhenItIsRun) {
  const persistent_data::test::scratch_directory directory;
  const std::string file = directory.file("file", "before");
  { snapshot_command command({.shell = "echo changed >" + file}, {}); }
  EXPECT_EQ(persistent_data::test::content_of(file), "before");
}

// The command would wait for ever: the FIFO has no writer.
TEST(SnapshotCommand, EndsWithItsTime) {
  const persistent_data::test::scratch_directory directory;
  const std::string shell = "mkfifo " + (directory / "fifo") + "; cat " + (directory / "fifo");
  EXPECT_THAT(error_of([&] {
                snapshot_command command({.shell = shell, .time_limit = 1ms}, {});
                command.run(wait_for);
                command.output();
              }),
              HasSubstr("it took longer than 0.001 s"));
  snapshot_command command({.shell = shell}, {});
  EXPECT_THROW(command.run([](int) { throw std::runtime_error("stop"); }), std::runtime_error);
}

}  // namespace
}  // namespace era
