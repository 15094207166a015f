// SPDX-License-Identifier: GPL-3.0-or-later
// Files and devices that hold data, and all that cannot.
#include "era/backup/data_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "era/testing/error_of.h"
#include "persistent-data/testing/loop_devices.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

using test::error_of;
using ::testing::HasSubstr;

class DataDevice : public ::testing::Test {
 protected:
  static std::string error_of_opening(const std::string& path,
                                      pd::access how = pd::access::reading) {
    return error_of([&] { const data_device device(path, how); });
  }
  static std::string content(const data_device& device) {
    std::string text(device.bytes(), '\0');
    const auto engine = device.make_engine();
    engine->submit({reinterpret_cast<std::byte*>(text.data()), text.size(), 0, 0});
    EXPECT_EQ(engine->wait().result, static_cast<std::int64_t>(text.size()));
    return text;
  }

  pd::test::scratch_directory directory_;
};

TEST_F(DataDevice, IsAFile) {
  const std::string text(1536, 'x');
  const data_device device(directory_.file("file", text), pd::access::reading);
  EXPECT_EQ(device.bytes(), 1536u);
  EXPECT_FALSE(device.is_block_device());
  EXPECT_EQ(content(device), text);
}

TEST_F(DataDevice, IsWholeSectors) {
  EXPECT_THAT(error_of_opening(directory_.file("file", std::string(1000, 'x'))),
              HasSubstr("file: has 1000 bytes, which is no whole number of sectors"));
}

TEST_F(DataDevice, IsNothingElse) {
  EXPECT_THAT(error_of_opening(directory_ / "none"), HasSubstr("none: No such file or directory"));
  EXPECT_THAT(error_of_opening(directory_ / "."), HasSubstr("neither a block device nor"));
  ASSERT_EQ(::mkfifo((directory_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(error_of_opening(directory_ / "pipe"), HasSubstr("neither a block device nor"));
}

// Readers may share a file; a writer has it alone.
TEST_F(DataDevice, IsKeptFromOthers) {
  const std::string path = directory_.file("file", std::string(512, 'x'));
  {
    const data_device reading(path, pd::access::reading);
    EXPECT_EQ(error_of_opening(path), "");
    EXPECT_THAT(error_of_opening(path, pd::access::writing), HasSubstr("by another tool"));
  }
  const data_device writing(path, pd::access::writing);
  EXPECT_THAT(error_of_opening(path), HasSubstr("by another tool"));
}

TEST_F(DataDevice, GrowsWithZeros) {
  const std::string path = directory_.file("file", std::string(512, 'x'));
  data_device device(path, pd::access::writing);
  device.resize(1536);
  EXPECT_EQ(device.bytes(), 1536u);
  EXPECT_EQ(content(device), std::string(512, 'x') + std::string(1024, '\0'));
  device.resize(512);
  EXPECT_EQ(std::filesystem::file_size(path), 512u);
}

TEST_F(DataDevice, OverlapsItself) {
  const std::string path = directory_.file("file", std::string(512, 'x'));
  const data_device device(path, pd::access::reading);
  std::filesystem::create_symlink(path, directory_ / "link");
  EXPECT_TRUE(device.overlaps(directory_ / "link"));
  EXPECT_FALSE(device.overlaps(directory_.file("other", "")));
  EXPECT_FALSE(device.overlaps(directory_ / "none"));
}

TEST_F(DataDevice, MayBeABlockDevice) {
  pd::test::loop_devices loops;
  const std::string file = directory_.file("disk", std::string(8192, 'x'));
  const std::string loop = loops.attach(file);
  if (loop.empty()) GTEST_SKIP() << loops.why_not();
  const data_device device(loop, pd::access::reading);
  EXPECT_TRUE(device.is_block_device());
  EXPECT_EQ(device.bytes(), 8192u);
  EXPECT_GT(device.make_engine()->depth(), 1u);
  EXPECT_TRUE(device.overlaps(file));
  EXPECT_THAT(error_of_opening(loop, pd::access::writing), HasSubstr("is in use"));
}

}  // namespace
}  // namespace era
