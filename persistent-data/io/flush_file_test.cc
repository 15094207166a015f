// SPDX-License-Identifier: GPL-3.0-or-later
// Calls that are interrupted or fail, and the directory that is flushed.
#include "persistent-data/io/flush_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <vector>

#include "persistent-data/io/unique_fd.h"
#include "persistent-data/testing/scratch_directory.h"

namespace persistent_data {
namespace {

class flush_calls final : public system_calls {
 public:
  int interruptions = 0;         // of the next calls
  int error = 0;                 // of all others, if not 0
  std::vector<ino_t> flushed{};  // the files that calls were for

  int fsync(int fd) override {
    struct stat status {};
    EXPECT_EQ(::fstat(fd, &status), 0);
    flushed.push_back(status.st_ino);
    errno = interruptions > 0 ? EINTR : error;
    return interruptions-- > 0 || error != 0 ? -1 : system_calls::fsync(fd);
  }
};

class FlushFile : public testing::Test {
 protected:
  static ino_t inode_of(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return status.st_ino;
  }
  test::scratch_directory directory_;
  flush_calls calls_;
};

TEST_F(FlushFile, IsRepeatedIfItIsInterrupted) {
  const unique_fd fd(::open(directory_.file("a", "b").c_str(), O_RDWR | O_CLOEXEC));
  calls_.interruptions = 2;
  EXPECT_EQ(flush_file(fd.get(), calls_), 0);
  EXPECT_EQ(calls_.flushed.size(), 3u);
}

TEST_F(FlushFile, TellsErrorsExceptThatThereIsNothingToFlush) {
  const unique_fd fd(::open(directory_.file("a", "b").c_str(), O_RDWR | O_CLOEXEC));
  for (const int error : {EIO, ENOSPC, EROFS}) {
    calls_.error = error;
    EXPECT_EQ(flush_file(fd.get(), calls_), error);
  }
  calls_.error = EINVAL;
  EXPECT_EQ(flush_file(fd.get(), calls_), 0);
}

TEST_F(FlushFile, TakesTheDirectoryOfAFile) {
  const std::string path = directory_ / "new";
  EXPECT_EQ(flush_directory_of(path, calls_), 0);
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  EXPECT_EQ(calls_.flushed, std::vector{inode_of(parent)});
  EXPECT_EQ(flush_directory_of("new", calls_), 0);
  EXPECT_EQ(calls_.flushed.back(), inode_of("."));
  EXPECT_EQ(flush_directory_of("/new", calls_), 0);
  EXPECT_EQ(calls_.flushed.back(), inode_of("/"));
  EXPECT_EQ(flush_directory_of(path + "/none", calls_), ENOENT);
  calls_.error = EIO;
  EXPECT_EQ(flush_directory_of(path, calls_), EIO);
}

}  // namespace
}  // namespace persistent_data
