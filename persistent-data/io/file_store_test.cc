// SPDX-License-Identifier: GPL-3.0-or-later
// Single blocks of a file, by calls that are interrupted, short, or fail.
#include "persistent-data/io/file_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/testing/scratch_device.h"

namespace persistent_data {
namespace {

class fake_calls final : public system_calls {
 public:
  std::size_t longest = ~std::size_t{0};  // bytes that a call transfers at most
  int interruptions = 0;                  // of the next calls, with EINTR
  int error = 0;                          // of all others, if not 0
  int calls = 0, flushes = 0;

  ssize_t pread(int fd, void* to, std::size_t bytes, off_t offset) override {
    return fails() ? -1 : system_calls::pread(fd, to, std::min(bytes, longest), offset);
  }
  ssize_t pwrite(int fd, const void* from, std::size_t bytes, off_t offset) override {
    return fails() ? -1 : system_calls::pwrite(fd, from, std::min(bytes, longest), offset);
  }
  int fdatasync(int fd) override {
    ++flushes;
    return fails() ? -1 : system_calls::fdatasync(fd);
  }

 private:
  bool fails() {
    ++calls;
    errno = interruptions > 0 ? EINTR : error;
    if (interruptions > 0) return --interruptions, true;
    return error != 0;
  }
};

class FileStore : public testing::Test {
 protected:
  FileStore() : fd(::open(disk.path().c_str(), O_RDWR | O_CLOEXEC)) {
    store = make_file_store(fd, "name", disk.nr_blocks(), calls);
    for (std::size_t i = 0; i < block_size; ++i)
      content.bytes[i] = static_cast<std::byte>(i * 7 % 251);
  }
  ~FileStore() override { ::close(fd); }

  template <class Call>
  std::string error_of(Call call) {
    try {
      call();
      return "";
    } catch (const device_error& e) {
      return e.what();
    }
  }
  std::string read_error() {
    block got;
    return error_of([&] { store->read({3}, got); });
  }
  std::string write_error() {
    return error_of([&] { store->write({3}, content); });
  }
  std::string flush_error() {
    return error_of([&] { store->flush(); });
  }

  test::scratch_device disk{8};
  int fd;
  fake_calls calls;
  std::unique_ptr<block_store> store;
  block content;
};

TEST_F(FileStore, ReadsAndWritesInPlace) {
  store->write({3}, content);
  EXPECT_EQ(disk[{3}].bytes, content.bytes);
  EXPECT_EQ(disk[{2}].bytes, block{}.bytes);
  EXPECT_EQ(disk[{4}].bytes, block{}.bytes);
  disk[{5}] = content;
  block got{};
  store->read({5}, got);
  EXPECT_EQ(got.bytes, content.bytes);
  EXPECT_EQ(store->name(), "name");
  EXPECT_EQ(store->nr_blocks(), 8u);
}

TEST_F(FileStore, GoesOnAfterShortTransfers) {
  for (const std::size_t longest : {512u, 513u, 1000u, 4095u}) {
    calls.longest = longest;
    disk[{3}] = {};
    store->write({3}, content);
    EXPECT_EQ(disk[{3}].bytes, content.bytes) << longest;
    block got{};
    store->read({3}, got);
    EXPECT_EQ(got.bytes, content.bytes) << longest;
  }
}

TEST_F(FileStore, EndsWhenATransferGetsNowhere) {
  for (const std::size_t longest : {0u, 511u}) {
    calls.longest = longest;
    calls.calls = 0;
    EXPECT_EQ(read_error(), "name: metadata block 3 cannot be read: No data available");
    EXPECT_EQ(write_error(), "name: metadata block 3 cannot be written: No space left on device");
    EXPECT_EQ(calls.calls, 2);
  }
}

TEST_F(FileStore, TheDeviceEndsEarly) {
  disk.cut(3);
  EXPECT_EQ(read_error(), "name: metadata block 3 cannot be read: No data available");
}

TEST_F(FileStore, GoesOnAfterSignals) {
  for (const int interruptions : {1, 3}) {
    calls.interruptions = interruptions;
    disk[{3}] = {};
    store->write({3}, content);
    EXPECT_EQ(disk[{3}].bytes, content.bytes);
    block got{};
    calls.interruptions = interruptions;
    store->read({3}, got);
    EXPECT_EQ(got.bytes, content.bytes);
    calls.interruptions = interruptions;
    store->flush();
    EXPECT_EQ(calls.interruptions, 0);
  }
}

TEST_F(FileStore, NamesErrors) {
  calls.error = EIO;
  EXPECT_EQ(read_error(), "name: metadata block 3 cannot be read: Input/output error");
  EXPECT_EQ(write_error(), "name: metadata block 3 cannot be written: Input/output error");
  EXPECT_EQ(flush_error(), "name: cannot flush what was written: Input/output error");
}

TEST_F(FileStore, FlushesTheDevice) {
  store->write({3}, content);
  EXPECT_EQ(calls.flushes, 0);
  store->flush();
  EXPECT_EQ(calls.flushes, 1);
}

}  // namespace
}  // namespace persistent_data
