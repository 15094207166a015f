// SPDX-License-Identifier: GPL-3.0-or-later
// Bitmaps as an NBD client sees them, against a model.
#include "era/backup/bitmap_image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "config.h"
#include "era/backup/run_program.h"
#include "era/testing/error_of.h"
#include "era/testing/qemu_images.h"
#include "persistent-data/testing/scratch_directory.h"

#ifdef HAVE_LIBNBD
#include <libnbd.h>
#endif

namespace era {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using ::testing::HasSubstr;

TEST(BitmapOptions, AreChecked) {
  const auto none = []() -> std::optional<byte_range> { return {}; };
  const auto error = [&](const bitmap_options& options) {
    return error_of([&] { create_bitmap_image("/nowhere/image", options, none); });
  };
  EXPECT_THAT(error({.name = "", .source = "SOURCE", .bytes = 512, .block_size = 1}),
              HasSubstr("1 to 1023 bytes, and not 0"));
  EXPECT_THAT(
      error({.name = std::string(1024, 'n'), .source = "SOURCE", .bytes = 512, .block_size = 1}),
      HasSubstr("and not 1024"));
  EXPECT_EQ(error({.name = "n", .source = "SOURCE", .bytes = 512}), "SOURCE: blocks of no size");
  EXPECT_THAT(error({.name = "n", .source = "SOURCE", .bytes = 513, .block_size = 1}),
              HasSubstr("SOURCE: 513 bytes are no multiple of 512"));
  EXPECT_EQ(error({.name = "n", .source = "SOURCE", .bytes = 512, .block_size = 1}),
            "/nowhere: cannot make a scratch file: No such file or directory");
}

#ifdef HAVE_LIBNBD

class BitmapImage : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = test::why_no_images()) GTEST_SKIP() << *why;
  }

  // The sectors that a client of `qemu-nbd -r -B NAME IMAGE` sees as dirty, and the data.
  struct served {
    std::vector<bool> dirty;
    std::string data;
  };
  static served serve(std::string image, std::string name) {
    const std::string context = "qemu:dirty-bitmap:" + name;
    nbd_handle* const h = nbd_create();
    std::string program = "qemu-nbd", read_only = "-r", bitmap = "-B", format = "-fqcow2";
    char* argv[] = {program.data(), read_only.data(), format.data(), bitmap.data(),
                    name.data(),    image.data(),     nullptr};
    served result;
    EXPECT_EQ(nbd_add_meta_context(h, context.c_str()), 0);
    if (nbd_connect_systemd_socket_activation(h, argv) != 0) {
      ADD_FAILURE() << nbd_get_error();
      nbd_close(h);
      return result;
    }
    EXPECT_EQ(nbd_can_meta_context(h, context.c_str()), 1);
    const auto size = static_cast<std::uint64_t>(nbd_get_size(h));
    result.data.resize(size);
    EXPECT_EQ(nbd_pread(h, result.data.data(), size, 0, 0), 0) << nbd_get_error();
    const auto take = [](void* to, const char*, std::uint64_t, std::uint32_t* entries,
                         std::size_t count, int*) {
      auto& dirty = *static_cast<std::vector<bool>*>(to);
      for (std::size_t i = 0; i + 1 < count; i += 2)
        dirty.insert(dirty.end(), entries[i] / 512, (entries[i + 1] & 1) != 0);
      return 0;
    };
    for (std::uint64_t at = 0; at < size;) {
      const nbd_extent_callback callback{.callback = take, .user_data = &result.dirty, .free = {}};
      if (nbd_block_status(h, size - at, at, callback, 0) != 0 || result.dirty.size() * 512 <= at) {
        ADD_FAILURE() << nbd_get_error();
        break;
      }
      at = result.dirty.size() * 512;
    }
    result.dirty.resize(size / 512);
    nbd_shutdown(h, 0);
    nbd_close(h);
    return result;
  }
  static std::function<std::optional<byte_range>()> feed_of(const std::vector<byte_range>& ranges) {
    return [&ranges, i = std::size_t{0}]() mutable {
      return i < ranges.size() ? std::optional(ranges[i++]) : std::nullopt;
    };
  }

  persistent_data::test::scratch_directory directory_;
};

TEST(BitmapGranularity, IsAsFineAsBlocksAndQemuLetIt) {
  constexpr std::uint64_t tib = std::uint64_t{1} << 40;
  EXPECT_EQ(bitmap_granularity(tib, 128), 64u << 10);
  EXPECT_EQ(bitmap_granularity(16 * tib, 8200), 4096u);
  EXPECT_EQ(bitmap_granularity(16 * tib + 512, 8200), 8192u);
  EXPECT_EQ(bitmap_granularity(20 * tib, 128), 64u << 10);
}

TEST_F(BitmapImage, MarksExactlyTheRanges) {
  const auto seed = std::random_device()();
  std::mt19937 random(seed);
  for (const std::uint32_t sectors : {1u, 8u, 128u, 192u, 1024u}) {
    SCOPED_TRACE(testing::Message() << "seed " << seed << ", block size " << sectors);
    // The last block is a part of one, unless a block is a sector.
    const std::size_t nr_blocks = 20 + random() % 20;
    const std::uint64_t nr_sectors = (nr_blocks - 1) * std::uint64_t{sectors} + (sectors + 1) / 2;
    const std::uint64_t block_bytes = sectors * std::uint64_t{512};
    const std::string source = directory_.random_file("so,urce", nr_sectors * 512, seed);
    const std::string before = persistent_data::test::content_of(source);

    std::vector<bool> wanted(nr_sectors);
    std::vector<byte_range> ranges;
    for (std::size_t block = 0; block < nr_blocks; ++block) {
      if (block != 0 && block != nr_blocks - 1 && random() % 3 != 0) continue;
      ranges.push_back({block * block_bytes, (block + 1) * block_bytes});
      for (std::uint64_t s = block * sectors; s < std::min((block + 1) * sectors, nr_sectors); ++s)
        wanted[s] = true;
    }
    std::shuffle(ranges.begin(), ranges.end(), random);

    const std::string image = directory_ / "image";
    create_bitmap_image(
        image, {.name = "-n", .source = source, .bytes = nr_sectors * 512, .block_size = sectors},
        feed_of(ranges));
    const served seen = serve(image, "-n");
    EXPECT_TRUE(seen.dirty == wanted);
    EXPECT_TRUE(seen.data == before);
    EXPECT_TRUE(persistent_data::test::content_of(source) == before);
    run_program({"qemu-img", "check", "-q", "-f", "qcow2", image}, "");
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(fs::path(image).parent_path()))
      files.push_back(entry.path().filename());
    EXPECT_THAT(files, ::testing::UnorderedElementsAre("image", "so,urce"));
  }
}

// It is not opened, and so neither written nor locked.
TEST_F(BitmapImage, DoesNotOpenTheSource) {
  const std::string image = directory_ / "image", source = directory_ / "source";
  create_bitmap_image(image, {.name = "n", .source = source, .bytes = 65536, .block_size = 8},
                      feed_of({}));
  EXPECT_FALSE(fs::exists(source));
  directory_.file("source", std::string(65536, 'x'));
  const served seen = serve(image, "n");
  EXPECT_TRUE(seen.dirty == std::vector<bool>(128));
  EXPECT_TRUE(seen.data == std::string(65536, 'x'));
}

TEST_F(BitmapImage, LeavesNothingBesideAnImageThatFails) {
  fs::create_directory(directory_ / "image");
  EXPECT_NE(error_of([&] {
              create_bitmap_image(directory_ / "image",
                                  {.name = "n", .source = "s", .bytes = 65536, .block_size = 8},
                                  feed_of({}));
            }),
            "");
  const fs::path image = directory_ / "image";
  EXPECT_EQ(std::distance(fs::directory_iterator(image.parent_path()), {}), 1);
  EXPECT_TRUE(fs::is_empty(image));
}

#endif

}  // namespace
}  // namespace era
