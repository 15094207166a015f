// SPDX-License-Identifier: GPL-3.0-or-later
// Links to files, to directories and to devices.
#include "era/backup/lasting_path.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "persistent-data/testing/loop_devices.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

namespace fs = std::filesystem;

class LastingPath : public ::testing::Test {
 protected:
  LastingPath() {
    fs::create_directories(top_ / "real/sub");
    fs::create_directory_symlink("real/sub", top_ / "link");
  }
  const persistent_data::test::scratch_directory directory_;
  const fs::path top_ = fs::canonical(fs::path(directory_ / "x").parent_path());
};

TEST_F(LastingPath, OfAFileHasNoLinksAndDots) {
  EXPECT_EQ(lasting_path(top_ / "link/new"), top_ / "real/sub/new");
  EXPECT_EQ(lasting_path(top_ / "link/../new"), top_ / "real/new");
  EXPECT_EQ(lasting_path(top_ / "real/./sub//new"), top_ / "real/sub/new");
  fs::create_symlink("real/file", top_ / "name");
  directory_.file("real/file", "x");
  EXPECT_EQ(lasting_path(top_ / "name"), top_ / "real/file");
  EXPECT_EQ(lasting_path("new"), fs::canonical(".") / "new");
}

TEST_F(LastingPath, OfABlockDeviceKeepsItsName) {
  persistent_data::test::loop_devices loops;
  const std::string loop = loops.attach(directory_.random_file("disk", 65536, 1));
  if (loop.empty()) GTEST_SKIP() << loops.why_not();
  fs::create_symlink(loop, top_ / "real/stable");
  EXPECT_TRUE(is_block_device(top_ / "real/stable"));
  EXPECT_EQ(lasting_path(loop), loop);
  EXPECT_EQ(lasting_path(top_ / "real/./stable"), top_ / "real/stable");
  // Links in directories are no names, and ".." after one is what it is for the kernel.
  EXPECT_EQ(lasting_path(top_ / "link/../stable"), top_ / "real/stable");
  fs::create_symlink("real", top_ / "other");
  EXPECT_EQ(lasting_path(top_ / "other/stable"), top_ / "real/stable");
}

}  // namespace
}  // namespace era
