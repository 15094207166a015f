// SPDX-License-Identifier: GPL-3.0-or-later
// The file stays if it was kept, and goes away if not.
#include "era/sim/created_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era::sim {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class CreatedFile : public ::testing::Test {
 protected:
  CreatedFile() { path_ = directory_ / "new"; }
  std::string error_of(std::uint64_t bytes) const {
    try {
      const created_file file(path_, bytes);
      return "";
    } catch (const persistent_data::device_error& e) {
      return e.what();
    }
  }

  persistent_data::test::scratch_directory directory_;
  std::string path_;
};

TEST_F(CreatedFile, StaysIfItIsKept) {
  {
    created_file file(path_, 12345);
    EXPECT_EQ(fs::file_size(path_), 12345u);
    EXPECT_FALSE(file.is_kept());
    file.keep();
    EXPECT_TRUE(file.is_kept());
  }
  EXPECT_EQ(fs::file_size(path_), 12345u);
}

TEST_F(CreatedFile, GoesAwayIfItIsNot) {
  { const created_file file(path_, 4096); }
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(CreatedFile, LeavesOthersAlone) {
  std::ofstream(path_) << "old";
  EXPECT_THAT(error_of(4096), HasSubstr("is there already"));
  EXPECT_EQ(fs::file_size(path_), 3u);
  fs::remove(path_);
  {
    const created_file file(path_, 4096);
    fs::rename(path_, directory_ / "moved");
    std::ofstream(path_) << "another";
  }
  EXPECT_EQ(fs::file_size(path_), 7u);
}

TEST_F(CreatedFile, GoesAwayIfItCannotBeSoLarge) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 8192;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string error = error_of(8193);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(error, HasSubstr("new: cannot be created with a size of 8193 bytes: File too large"));
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(CreatedFile, NamesWhatCannotBeCreated) {
  path_ = directory_ / "no/new";
  EXPECT_THAT(error_of(4096), HasSubstr("no/new: cannot be created: No such file or directory"));
}

}  // namespace
}  // namespace era::sim
