// SPDX-License-Identifier: GPL-3.0-or-later
// Calls that are interrupted, short, or fail, for requests of sectors and for odd ones.
#include "persistent-data/io/whole_transfer.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "persistent-data/io/unique_fd.h"
#include "persistent-data/testing/scratch_directory.h"

namespace persistent_data {
namespace {

class fake_calls final : public system_calls {
 public:
  std::size_t longest = ~std::size_t{0};  // bytes that a call transfers at most
  int interruptions = 0;                  // of the next calls
  int error = 0;                          // of all others, if not 0
  std::vector<off_t> offsets{};

  ssize_t pread(int fd, void* to, std::size_t bytes, off_t offset) override {
    return fails(offset) ? -1 : system_calls::pread(fd, to, std::min(bytes, longest), offset);
  }
  ssize_t pwrite(int fd, const void* from, std::size_t bytes, off_t offset) override {
    return fails(offset) ? -1 : system_calls::pwrite(fd, from, std::min(bytes, longest), offset);
  }

 private:
  bool fails(off_t offset) {
    offsets.push_back(offset);
    errno = interruptions > 0 ? EINTR : error;
    return interruptions-- > 0 || error != 0;
  }
};

class WholeTransfer : public testing::Test {
 protected:
  int write(const std::string& text, std::uint64_t offset) {
    calls_.offsets.clear();
    return write_whole(fd_.get(), std::as_bytes(std::span(text)), offset, calls_);
  }
  int read(std::string& text, std::uint64_t offset) {
    calls_.offsets.clear();
    return read_whole(fd_.get(), std::as_writable_bytes(std::span(text)), offset, calls_);
  }

  test::scratch_directory directory_;
  const std::string path_ = directory_.random_file("file", 4096, 1);
  const unique_fd fd_{::open(path_.c_str(), O_RDWR | O_CLOEXEC)};
  fake_calls calls_;
};

TEST_F(WholeTransfer, GoesOnAfterInterruptionsAndShortCalls) {
  const std::string content = test::content_of(path_);
  for (const std::size_t size : {1u, 10u, 511u, 512u, 1024u, 2000u, 3072u})
    for (const std::size_t longest : {600u, 4096u}) {
      calls_.longest = longest;
      calls_.interruptions = 3;
      std::string text(size, '?');
      EXPECT_EQ(read(text, 1000), 0);
      EXPECT_TRUE(text == content.substr(1000, size)) << size << ' ' << longest;
      std::reverse(text.begin(), text.end());
      calls_.interruptions = 3;
      EXPECT_EQ(write(text, 1000), 0);
      EXPECT_TRUE(test::content_of(path_).substr(1000, size) == text) << size << ' ' << longest;
      EXPECT_EQ(write(content, 0), 0);
    }
}

TEST_F(WholeTransfer, GoesOnAtASectorIfSectorsAreAskedFor) {
  calls_.longest = 600;
  std::string sectors(1024, '?'), odd(1000, '?');
  EXPECT_EQ(read(sectors, 512), 0);
  EXPECT_EQ(calls_.offsets, (std::vector<off_t>{512, 1024}));
  EXPECT_EQ(read(odd, 512), 0);
  EXPECT_EQ(calls_.offsets, (std::vector<off_t>{512, 1112}));
  calls_.longest = 100;
  EXPECT_EQ(read(odd, 512), 0);
  EXPECT_EQ(calls_.offsets.size(), 10u);
}

TEST_F(WholeTransfer, EndsWhereNothingIsGained) {
  std::string text(1000, '?');
  EXPECT_EQ(read(text, 4000), ENODATA);
  EXPECT_EQ(read(text, 5000), ENODATA);
  calls_.longest = 0;
  EXPECT_EQ(write(text, 0), ENOSPC);
  calls_.longest = 511;
  text.resize(1024);
  EXPECT_EQ(write(text, 0), ENOSPC);
}

TEST_F(WholeTransfer, TellsTheErrorOfACall) {
  std::string text(1000, '?');
  calls_.error = EIO;
  EXPECT_EQ(read(text, 0), EIO);
  EXPECT_EQ(write(text, 0), EIO);
}

TEST_F(WholeTransfer, OfNothingCallsNothing) {
  std::string text;
  EXPECT_EQ(read(text, 10), 0);
  EXPECT_EQ(write(text, 10), 0);
  EXPECT_TRUE(calls_.offsets.empty());
}

}  // namespace
}  // namespace persistent_data
