// SPDX-License-Identifier: GPL-3.0-or-later
// Images as a whole: made, measured, chained and checked.
#include "era/backup/qcow2_image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <optional>

#include "era/backup/run_program.h"
#include "era/testing/error_of.h"
#include "era/testing/qemu_images.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint32_t block = 65536;

class Qcow2Image : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = test::why_no_images()) GTEST_SKIP() << *why;
  }
  std::string make(const std::string& name, std::optional<backing_image> backing = {}) {
    const std::string path = directory_ / name;
    create_qcow2(
        path,
        {.bytes = 5 * block, .block_size = block / 512, .backing = backing ? &*backing : nullptr});
    return path;
  }
  std::string data_of(const std::string& image) const {
    return test::data_of_image(image, directory_ / "converted");
  }

  persistent_data::test::scratch_directory directory_;
};

TEST(Qcow2Clusters, AreAsLargeAsBlockAndImageLetThem) {
  constexpr std::uint64_t tib = std::uint64_t{1} << 40;
  EXPECT_EQ(qcow2_cluster_bytes(tib, 128), 64u << 10);
  EXPECT_EQ(qcow2_cluster_bytes(tib, 8192), 64u << 10);
  EXPECT_EQ(qcow2_cluster_bytes(tib, 8200), 4096u);
  EXPECT_EQ(qcow2_cluster_bytes(8 * tib, 8200), 4096u);
  EXPECT_EQ(qcow2_cluster_bytes(8 * tib + 512, 8200), 8192u);
  EXPECT_EQ(qcow2_cluster_bytes(8000 * tib, 8200), 64u << 10);
}

TEST_F(Qcow2Image, MayBeOfALargeSourceWithSmallDivisors) {
  constexpr std::uint64_t bytes = std::uint64_t{2'500'000} * 8200 * 512;
  const std::string path = directory_ / "large";
  create_qcow2(path, {.bytes = bytes, .block_size = 8200});
  EXPECT_EQ(summary_of_image({path, image_format::qcow2}).bytes, bytes);
}

TEST_F(Qcow2Image, TellsItsSize) {
  EXPECT_EQ(summary_of_image({make("image"), image_format::qcow2}).bytes, 5 * block);
  EXPECT_EQ(summary_of_image({directory_.file("raw", std::string(block, 'x'))}).bytes, block);
}

TEST_F(Qcow2Image, IsOfTheFormatThatWasSaid) {
  const std::string raw = directory_.file("raw", std::string(block, 'x'));
  EXPECT_THAT(error_of([&] {
                summary_of_image({raw, image_format::qcow2});
              }),
              HasSubstr("not in qcow2 format"));
  EXPECT_THAT(error_of([&] { summary_of_image({directory_ / "none"}); }),
              HasSubstr("No such file"));
}

// qemu-img would wait for somebody who writes into it.
TEST_F(Qcow2Image, HasNoPipeBelow) {
  const std::string base = make("base");
  const std::string above = make("above", backing_image{base, image_format::qcow2});
  std::filesystem::remove(base);
  ASSERT_EQ(::mkfifo(base.c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] {
                summary_of_image({above, image_format::qcow2});
              }),
              HasSubstr("neither a block device nor a regular file"));
}

TEST_F(Qcow2Image, IsNoPipe) {
  const std::string pipe = directory_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_FALSE(begins_like_qcow2(pipe));
  EXPECT_THAT(error_of([&] {
                summary_of_image({pipe, image_format::qcow2});
              }),
              HasSubstr("neither a block device nor a regular file"));
}

TEST_F(Qcow2Image, NamesTheFilesThatItsContentComesFrom) {
  const std::string data = directory_.file("data", std::string(5 * block, 'x'));
  const std::string base = directory_ / "base", above = make("above");
  run_program({"qemu-img", "create", "-q", "-f", "qcow2", "-o",
               "data_file=" + data + ",data_file_raw=on", base, std::to_string(5 * block)},
              "qemu-utils");
  EXPECT_THAT(summary_of_image({above, image_format::qcow2}).files, ElementsAre(above));
  const std::string top = make("top", backing_image{base, image_format::qcow2});
  const auto files = summary_of_image({top, image_format::qcow2}).files;
  ASSERT_EQ(files.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_TRUE(std::filesystem::equivalent(files[i], std::array{top, base, data}[i])) << files[i];
}

// The address is longer than a name of a file may be.
TEST_F(Qcow2Image, MayBeOverAnAddress) {
  const std::string above = directory_ / "above";
  const std::string base = directory_.file("base", std::string(block, 'x'));
  const std::string address = "json:{" + std::string(300, ' ') +
                              R"("driver":"raw","file":{"driver":"file","filename":")" + base +
                              "\"}}";
  run_program({"qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", address, above, "64K"},
              "qemu-utils");
  EXPECT_THAT(summary_of_image({above, image_format::qcow2}).files, Contains(base));
}

TEST_F(Qcow2Image, IsKnownByItsHeader) {
  const std::string image = make("image");
  EXPECT_TRUE(begins_like_qcow2(image));
  std::filesystem::copy_file(image, directory_ / "copy");
  EXPECT_TRUE(begin_like_one_qcow2(image, directory_ / "copy"));
  run_program({"qemu-img", "create", "-q", "-f", "qcow2", directory_ / "larger", "16M"},
              "qemu-utils");
  EXPECT_FALSE(begin_like_one_qcow2(image, directory_ / "larger"));
  const std::string raw = directory_.file("raw", std::string(block, 'x'));
  EXPECT_FALSE(begin_like_one_qcow2(raw, raw));
}

TEST_F(Qcow2Image, NamesABackingFileBesideItByItsNameAlone) {
  const std::string base = make("base");
  const std::string above = make("above", backing_image{base, image_format::qcow2});
  const std::string moved = directory_ / "moved";
  fs::create_directory(moved);
  fs::rename(base, moved + "/base");
  fs::rename(above, moved + "/above");
  EXPECT_EQ(data_of(moved + "/above").size(), 5 * block);
  // Elsewhere, by its whole path.
  const std::string top = make("top", backing_image{moved + "/above", image_format::qcow2});
  fs::rename(top, moved + "/top");
  EXPECT_EQ(data_of(moved + "/top").size(), 5 * block);
}

TEST_F(Qcow2Image, IsCheckedAsAWhole) {
  const std::string path = make("image");
  run_program({"qemu-io", "-f", "qcow2", "-c", "write 0 64k", path}, "qemu-utils");
  check_qcow2(path);
  std::string content = persistent_data::test::content_of(path);
  // The reference counts of all clusters become zero.
  content.replace(2 * block, block, std::string(block, '\0'));
  directory_.file("image", content);
  EXPECT_NE(error_of([&] { check_qcow2(path); }), "");
}

}  // namespace
}  // namespace era
