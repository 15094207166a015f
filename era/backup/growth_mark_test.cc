// SPDX-License-Identifier: GPL-3.0-or-later
// The mark as it was written, and all that is none.
#include "era/backup/growth_mark.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "persistent-data/io/unique_fd.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

class GrowthMark : public ::testing::Test {
 protected:
  std::optional<std::uint64_t> find() const {
    return find_growth_mark(fd_.get(), std::filesystem::file_size(path_), calls_);
  }
  // Changes the mark of a file of 1024 bytes.
  std::optional<std::uint64_t> find_with(std::size_t at, char byte) const {
    EXPECT_EQ(::pwrite(fd_.get(), &byte, 1, static_cast<off_t>(1024 + at)), 1);
    return find();
  }

  pd::test::scratch_directory directory_;
  const std::string path_ = directory_.file("image", std::string(1000, 'x'));
  const pd::unique_fd fd_{::open(path_.c_str(), O_RDWR | O_CLOEXEC)};
  pd::system_calls& calls_ = pd::system_calls::real();
};

TEST_F(GrowthMark, IsFoundAsItWasPut) {
  EXPECT_EQ(find(), std::nullopt);
  for (const std::uint64_t held : {0, 1000, 4096}) {
    ASSERT_EQ(put_growth_mark(fd_.get(), 4096, held, calls_), 0);
    EXPECT_EQ(std::filesystem::file_size(path_), 4096 + growth_mark_bytes);
    EXPECT_EQ(find(), held);
  }
}

TEST_F(GrowthMark, IsLegible) {
  ASSERT_EQ(put_growth_mark(fd_.get(), 4096, 1000, calls_), 0);
  EXPECT_TRUE(pd::test::content_of(path_).substr(4096).starts_with(
      "era_backup has not finished this image: its first 1000 of 4096 bytes were there before\n"));
}

TEST_F(GrowthMark, IsNothingElse) {
  ASSERT_EQ(put_growth_mark(fd_.get(), 1024, 1000, calls_), 0);
  ASSERT_EQ(find(), 1000u);
  for (const std::size_t at : {0, 30, 55, 70, 300, 511}) {
    const std::string before = pd::test::content_of(path_);
    EXPECT_EQ(find_with(at, '~'), std::nullopt) << at;
    find_with(at, before[1024 + at]);
    EXPECT_EQ(find(), 1000u) << at;
  }
  // Of a file of another length, or in a file that is too short.
  ASSERT_EQ(::ftruncate(fd_.get(), 2048), 0);
  EXPECT_EQ(find(), std::nullopt);
  ASSERT_EQ(::ftruncate(fd_.get(), 300), 0);
  EXPECT_EQ(find(), std::nullopt);
}

}  // namespace
}  // namespace era
