// SPDX-License-Identifier: GPL-3.0-or-later
// The file of a state, before and after it is written. functional-tests/backup.bats has the rest.
#include "era/commands/state_file.h"

#include <gtest/gtest.h>

#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

TEST(StateFile, IsKnownToBeWritten) {
  const persistent_data::test::scratch_directory directory;
  const std::string path = directory / "state";
  backup_state state;
  state.source = "/dev/origin";
  state.next_era = 7;
  EXPECT_FALSE(is_written(path, state));
  write_state(path, state);
  EXPECT_TRUE(is_written(path, state));
  state.next_era = 8;
  EXPECT_FALSE(is_written(path, state));
  directory.file("state", "something else");
  EXPECT_FALSE(is_written(path, state));
}

}  // namespace
}  // namespace era
