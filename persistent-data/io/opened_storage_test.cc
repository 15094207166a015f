// SPDX-License-Identifier: GPL-3.0-or-later
// Files and devices that can be opened, their page cache, and the words in which others are
// refused.
#include "persistent-data/io/opened_storage.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>

#include "persistent-data/format/errors.h"
#include "persistent-data/testing/loop_devices.h"
#include "persistent-data/testing/scratch_directory.h"

namespace persistent_data {
namespace {

class OpenedStorage : public testing::Test {
 protected:
  // The message without the name that it begins with; empty if it can be opened.
  static std::string refusal(const std::string& path, access how, const way_out& hints = {}) {
    try {
      const opened_storage opened(path, how, page_cache::for_files, hints);
      return "";
    } catch (const device_error& error) {
      const std::string message = error.what(), begin = path + ": ";
      EXPECT_EQ(message.substr(0, begin.size()), begin);
      return message.substr(std::min(begin.size(), message.size()));
    }
  }

  static bool is_direct(const std::string& path, page_cache cache) {
    const opened_storage opened(path, access::shared, cache);
    return (::fcntl(opened.descriptor(), F_GETFL) & O_DIRECT) != 0;
  }

  // Skips the test if there is none.
  std::string loop(bool read_only = false) {
    return loops_.attach(directory_.empty_file("backing", 8192), read_only);
  }

  test::scratch_directory directory_;
  test::loop_devices loops_;
};

constexpr access all[] = {access::shared, access::reading, access::writing};
const std::string in_use = "is in use: mounted, or held by device-mapper; stop its user first";

TEST_F(OpenedStorage, IsAFileOfAnySize) {
  for (const access how : all)
    for (const std::uint64_t bytes : {0u, 1u, 12345u}) {
      const opened_storage file(directory_.empty_file("file", bytes), how, page_cache::for_all);
      EXPECT_EQ(file.bytes(), bytes);
      EXPECT_EQ(file.path(), directory_ / "file");
      EXPECT_FALSE(file.is_block_device());
    }
}

TEST_F(OpenedStorage, IsNeitherDirectoryNorPipeNorCharacterDevice) {
  const std::string rest = ", neither a block device nor a regular file";
  ASSERT_EQ(::mknod((directory_ / "socket").c_str(), S_IFSOCK | 0600, 0), 0);
  const std::string pipe = directory_.fifo("pipe");
  for (const access how : all) {
    EXPECT_EQ(refusal(directory_.string(), how), "is a directory" + rest);
    EXPECT_EQ(refusal(pipe, how), "is a pipe" + rest);
    EXPECT_EQ(refusal("/dev/null", how), "is a character device" + rest);
    EXPECT_EQ(refusal(directory_ / "socket", how), "is a socket" + rest);
  }
}

TEST_F(OpenedStorage, ThatIsMissing) {
  for (const access how : all) {
    EXPECT_EQ(refusal(directory_ / "none", how), "No such file or directory");
    EXPECT_EQ(refusal(directory_ / "none", how, {.if_missing = "make it"}),
              "is not there; make it");
    EXPECT_EQ(refusal(directory_.file("file", "") + "/x", how, {.if_missing = "make it"}),
              "Not a directory");
  }
}

TEST_F(OpenedStorage, IsKeptFromOthers) {
  const std::string path = directory_.file("file", "");
  {
    const opened_storage reader(path, access::reading, page_cache::for_all);
    EXPECT_EQ(refusal(path, access::shared), "");
    EXPECT_EQ(refusal(path, access::reading), "");
    EXPECT_NE(refusal(path, access::writing), "");
  }
  {
    const opened_storage writer(path, access::writing, page_cache::for_all);
    EXPECT_EQ(refusal(path, access::shared), "");
    EXPECT_NE(refusal(path, access::reading), "");
    EXPECT_NE(refusal(path, access::writing), "");
  }
  EXPECT_EQ(refusal(path, access::writing), "");
}

TEST_F(OpenedStorage, IsADevice) {
  const std::string name = loop();
  if (name.empty()) GTEST_SKIP() << loops_.why_not();
  for (const access how : all) {
    const opened_storage device(name, how, page_cache::for_files);
    EXPECT_EQ(device.bytes(), 8192u);
    EXPECT_TRUE(device.is_block_device());
    EXPECT_TRUE(device.overlaps(directory_ / "backing"));
    EXPECT_FALSE(device.overlaps(directory_ / "none"));
    EXPECT_TRUE(device.overlaps(device.descriptor()));
    if (how == access::shared) continue;
    EXPECT_EQ(refusal(name, access::reading), in_use);
    EXPECT_EQ(refusal(name, access::writing, {.if_held = ", or wait"}), in_use + ", or wait");
    EXPECT_EQ(refusal(name, access::shared), "");
  }
}

TEST_F(OpenedStorage, IsNotWrittenIfTheDeviceIsReadOnly) {
  const std::string name = loop(true);
  if (name.empty()) GTEST_SKIP() << loops_.why_not();
  EXPECT_EQ(refusal(name, access::reading), "");
  EXPECT_EQ(refusal(name, access::writing),
            "is a read-only device; make it writable first, or name another");
}

TEST_F(OpenedStorage, IsReadPastThePageCacheWhereItIsTold) {
  const std::string file = directory_.empty_file("file", 4096);
  EXPECT_FALSE(is_direct(file, page_cache::for_all));
  EXPECT_FALSE(is_direct(file, page_cache::for_files));
  const int direct = ::open(file.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  EXPECT_EQ(is_direct(file, page_cache::where_needed), direct >= 0);
  if (direct >= 0) ::close(direct);
  const std::string name = loop();
  if (name.empty()) GTEST_SKIP() << loops_.why_not();
  EXPECT_FALSE(is_direct(name, page_cache::for_all));
  EXPECT_TRUE(is_direct(name, page_cache::for_files));
  EXPECT_TRUE(is_direct(name, page_cache::where_needed));
}

}  // namespace
}  // namespace persistent_data
