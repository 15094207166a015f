// SPDX-License-Identifier: GPL-3.0-or-later
// A mark that was written, and everything that is none.
#include "era/backup/growth_mark.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "era/testing/error_of.h"
#include "persistent-data/io/unique_fd.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

class unreadable_end final : public pd::system_calls {
  ssize_t pread(int, void*, std::size_t, off_t) override {
    errno = EIO;
    return -1;
  }
};

class GrowthMark : public ::testing::Test {
 protected:
  plain_image_size measure() const {
    return measure_plain_image(fd_.get(), path_, std::filesystem::file_size(path_), calls_);
  }
  void put(std::uint64_t bytes, std::uint64_t held_bytes) {
    ASSERT_EQ(put_growth_mark(fd_.get(), {bytes, held_bytes, true}, calls_), 0);
  }
  void set(std::size_t at, char byte) {
    ASSERT_EQ(::pwrite(fd_.get(), &byte, 1, static_cast<off_t>(at)), 1);
  }

  pd::test::scratch_directory directory_;
  const std::string path_ = directory_.file("image", std::string(1000, 'x'));
  const pd::unique_fd fd_{::open(path_.c_str(), O_RDWR | O_CLOEXEC)};
  pd::system_calls& calls_ = pd::system_calls::real();
};

TEST_F(GrowthMark, IsFoundAsItWasPut) {
  EXPECT_FALSE(measure().is_marked);
  EXPECT_EQ(measure().held_bytes, 1000u);
  for (const std::uint64_t held : {0u, 1000u, 4096u}) {
    put(4096, held);
    EXPECT_EQ(std::filesystem::file_size(path_), 4096 + growth_mark_bytes);
    for (const plain_image_size& found : {measure(), measure_plain_image(path_)}) {
      EXPECT_TRUE(found.is_marked);
      EXPECT_EQ(found.bytes, 4096u);
      EXPECT_EQ(found.held_bytes, held);
    }
  }
}

TEST_F(GrowthMark, IsLegible) {
  put(4096, 1000);
  EXPECT_TRUE(pd::test::content_of(path_).substr(4096).starts_with(
      "era_backup has not finished this image: its first 1000 of 4096 bytes were there before\n"));
}

TEST_F(GrowthMark, IsNothingElse) {
  put(1024, 1000);
  const std::string marked = pd::test::content_of(path_);
  for (const std::size_t at : {0u, 30u, 55u, 70u, 300u, 511u}) {
    set(1024 + at, '~');
    EXPECT_FALSE(measure().is_marked) << at;
    EXPECT_EQ(measure().held_bytes, 1536u);
    set(1024 + at, marked[1024 + at]);
    EXPECT_TRUE(measure().is_marked) << at;
  }
  // The file has another length, or is too short.
  ASSERT_EQ(::ftruncate(fd_.get(), 2048), 0);
  EXPECT_FALSE(measure().is_marked);
  ASSERT_EQ(::ftruncate(fd_.get(), 300), 0);
  EXPECT_EQ(measure().held_bytes, 300u);
}

TEST_F(GrowthMark, IsNotMissingIfItCannotBeRead) {
  unreadable_end calls;
  EXPECT_EQ(test::error_of([&] { measure_plain_image(fd_.get(), path_, 1000, calls); }),
            path_ + ": its last sector cannot be read: Input/output error");
}

}  // namespace
}  // namespace era
