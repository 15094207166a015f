// SPDX-License-Identifier: GPL-3.0-or-later
// A file as the origin, and what cannot be one.
#include "era/sim/origin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era::sim {
namespace {

namespace fs = std::filesystem;
using ::testing::Each;
using ::testing::HasSubstr;

using data = std::vector<std::byte>;

class FileOrigin : public ::testing::Test {
 protected:
  std::string file(std::uint64_t bytes) const { return directory_.empty_file("file", bytes); }
  static std::string error_of(const std::string& path) {
    try {
      const file_origin origin(path);
      return "";
    } catch (const pd::device_error& e) {
      return e.what();
    }
  }

  pd::test::scratch_directory directory_;
};

TEST_F(FileOrigin, HoldsWhatIsWritten) {
  file_origin origin(file(1 << 20));
  EXPECT_EQ(origin.sectors(), 2048u);
  const data written(3 * 512, std::byte{7});
  origin.write(5, 3, written.data());
  origin.flush();
  data read(5 * 512, std::byte{1});
  origin.read(4, 5, read.data());
  EXPECT_THAT(data(read.begin(), read.begin() + 512), Each(std::byte{0}));
  EXPECT_THAT(data(read.begin() + 512, read.begin() + 4 * 512), Each(std::byte{7}));
  EXPECT_THAT(data(read.begin() + 4 * 512, read.end()), Each(std::byte{0}));
}

TEST_F(FileOrigin, ADiscardMakesZeros) {
  file_origin origin(file(1 << 20));
  const data written(24 * 512, std::byte{7});
  origin.write(0, 24, written.data());
  origin.discard(8, 8);
  data read(24 * 512);
  origin.read(0, 24, read.data());
  EXPECT_THAT(data(read.begin() + 8 * 512, read.begin() + 16 * 512), Each(std::byte{0}));
  EXPECT_EQ(std::count(read.begin(), read.end(), std::byte{7}), 16 * 512);
  EXPECT_EQ(fs::file_size(directory_ / "file"), 1u << 20);
}

TEST_F(FileOrigin, EndsWithItsLastWholeSector) {
  EXPECT_EQ(file_origin(file(1023)).sectors(), 1u);
  EXPECT_EQ(file_origin(file(511)).sectors(), 0u);
  file_origin origin(file(1024));
  data read(512);
  EXPECT_THROW(origin.read(2, 1, read.data()), pd::device_error);
}

TEST_F(FileOrigin, IsAFileOrABlockDevice) {
  EXPECT_THAT(error_of(directory_ / "nowhere"), HasSubstr("nowhere: No such file or directory"));
  EXPECT_THAT(error_of(directory_.string()),
              HasSubstr("neither a block device nor a regular file"));
  EXPECT_THAT(error_of("/dev/null"), HasSubstr("neither a block device nor a regular file"));
  EXPECT_THAT(error_of(directory_.fifo("fifo")),
              HasSubstr("neither a block device nor a regular file"));
}

TEST(NoOrigin, HasZeros) {
  no_origin origin;
  data read(1024, std::byte{1});
  origin.write(0, 2, read.data());
  origin.discard(0, 2);
  origin.flush();
  origin.read(0, 2, read.data());
  EXPECT_THAT(read, Each(std::byte{0}));
}

}  // namespace
}  // namespace era::sim
