// SPDX-License-Identifier: GPL-3.0-or-later
// Files and block devices as targets: what they may be, how they grow, and their errors.
#include "era/backup/raw_target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include "era/backup/growth_mark.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/testing/loop_devices.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

using ::testing::HasSubstr;

constexpr std::size_t piece = 65536;

class failing_calls : public pd::system_calls {
 public:
  int punch_error = 0, write_error = 0, flush_error = 0;
  std::size_t longest = ~std::size_t{0};
  int flush_interruptions = 0;

  int fallocate(int fd, int mode, off_t offset, off_t bytes) override {
    return punch_error == 0 ? ::fallocate(fd, mode, offset, bytes) : fail(punch_error);
  }
  ssize_t pwrite(int fd, const void* from, std::size_t bytes, off_t offset) override {
    if (write_error != 0) return fail(write_error);
    return ::pwrite(fd, from, std::min(bytes, longest), offset);
  }
  int fsync(int fd) override {
    if (flush_interruptions-- > 0) return fail(EINTR);
    return flush_error == 0 ? ::fsync(fd) : fail(flush_error);
  }

 private:
  static int fail(int error) {
    errno = error;
    return -1;
  }
};

class RawTarget : public ::testing::Test {
 protected:
  std::string error_of(const std::string& path, const raw_target_options& options) {
    try {
      open_raw_target(path, options);
      return "";
    } catch (const pd::device_error& e) {
      return e.what();
    }
  }
  // Aligned, as direct I/O needs it.
  std::span<std::byte> filled(char with) {
    std::memset(memory_.get(), with, piece);
    return {memory_.get(), piece};
  }
  static void write(backup_target& target, std::uint64_t offset, std::span<const std::byte> data,
                    bool is_zero = false) {
    target.start({7, offset, data, is_zero});
    EXPECT_EQ(target.wait(), 7u);
  }
  static std::uint64_t blocks_of(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    return static_cast<std::uint64_t>(status.st_blocks);
  }

  pd::test::scratch_directory directory_;
  std::unique_ptr<std::byte, void (*)(void*)> memory_{
      static_cast<std::byte*>(std::aligned_alloc(4096, piece)), std::free};
};

TEST_F(RawTarget, IsMadeForItsOwnerAlone) {
  const std::string path = directory_ / "new";
  const auto target = open_raw_target(path, {.bytes = 4 * piece, .is_new = true});
  EXPECT_EQ(target->size(), 4 * piece);
  EXPECT_TRUE(target->reads_as_zeros(0, 4 * piece));
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  write(*target, piece, filled('x'));
  target->flush();
  target->end_growth();
  std::string wanted(4 * piece, '\0');
  wanted.replace(piece, piece, std::string(piece, 'x'));
  EXPECT_TRUE(pd::test::content_of(path) == wanted);
  std::string back(piece, '\0');
  target->read(piece, std::as_writable_bytes(std::span(back)));
  EXPECT_EQ(back, std::string(piece, 'x'));
}

TEST_F(RawTarget, MustBeThereForChangedBlocks) {
  const std::string path = directory_ / "new";
  EXPECT_THAT(error_of(path, {.bytes = piece}), HasSubstr("--full copies all"));
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(RawTarget, GrowsWithTheSource) {
  const std::string path = directory_.file("old", std::string(piece, 'a'));
  auto target = open_raw_target(path, {.bytes = 3 * piece});
  EXPECT_EQ(target->size(), 3 * piece);
  EXPECT_EQ(target->held_bytes(), piece);
  EXPECT_FALSE(target->reads_as_zeros(0, piece));
  EXPECT_TRUE(target->reads_as_zeros(piece, 2 * piece));
  target->end_growth();
  EXPECT_TRUE(pd::test::content_of(path) == std::string(piece, 'a') + std::string(2 * piece, '\0'));
  target.reset();
  EXPECT_EQ(open_raw_target(path, {.bytes = 3 * piece})->held_bytes(), 3 * piece);
}

// The next run must not take the new length for content.
TEST_F(RawTarget, RemembersWhatItHeldUntilItsGrowthHasEnded) {
  const std::string path = directory_.file("old", std::string(piece, 'a'));
  open_raw_target(path, {.bytes = 3 * piece});
  EXPECT_EQ(std::filesystem::file_size(path), 3 * piece + growth_mark_bytes);
  {
    const auto again = open_raw_target(path, {.bytes = 3 * piece});
    EXPECT_EQ(again->held_bytes(), piece);
    write(*again, 2 * piece, filled('c'));
    again->flush();
  }
  // The source has grown again: what was written, and the old mark, are no zeros.
  const auto third = open_raw_target(path, {.bytes = 4 * piece});
  EXPECT_EQ(third->held_bytes(), piece);
  EXPECT_EQ(third->size(), 4 * piece);
  EXPECT_FALSE(third->reads_as_zeros(2 * piece, piece));
  EXPECT_FALSE(third->reads_as_zeros(3 * piece, growth_mark_bytes));
  for (const char c : {'b', 'c', 'd'})
    write(*third, static_cast<std::uint64_t>(c - 'a') * piece, filled(c));
  third->end_growth();
  std::string wanted;
  for (const char c : {'a', 'b', 'c', 'd'}) wanted += std::string(piece, c);
  EXPECT_TRUE(pd::test::content_of(path) == wanted);
}

// Nothing of what it has is a backup until it is complete, whatever it was before.
TEST_F(RawTarget, IsMarkedWhileANewBackupIsMade) {
  const std::string path = directory_ / "target";
  for (const std::size_t before : {0u, 1u, 2u, 3u}) {
    directory_.file("target", std::string(before * piece, 'a'));
    open_raw_target(path, {.bytes = 2 * piece, .is_new = true});
    EXPECT_EQ(std::filesystem::file_size(path), 2 * piece + growth_mark_bytes);
    EXPECT_EQ(open_raw_target(path, {.bytes = 2 * piece})->held_bytes(), 0u);
  }
}

TEST_F(RawTarget, IsCutOnlyWithItsMark) {
  class no_mark final : public pd::system_calls {
    ssize_t pwrite(int, const void*, std::size_t, off_t) override {
      errno = ENOSPC;
      return -1;
    }
  } calls;
  const std::string path = directory_.file("old", std::string(3 * piece, 'a'));
  EXPECT_THROW(open_raw_target(path, {.bytes = piece, .is_new = true}, calls), pd::device_error);
  EXPECT_TRUE(pd::test::content_of(path) == std::string(3 * piece, 'a'));
}

TEST_F(RawTarget, IsNotLeftBehindIfItsNameCannotBeKept) {
  failing_calls calls;
  calls.flush_error = EIO;
  const std::string path = directory_ / "new";
  EXPECT_THROW(open_raw_target(path, {.bytes = piece, .is_new = true}, calls), pd::device_error);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(RawTarget, ForgetsItForANewBackup) {
  const std::string path = directory_.file("old", std::string(piece, 'a'));
  open_raw_target(path, {.bytes = 3 * piece});
  EXPECT_THAT(error_of(path, {.bytes = 2 * piece}), HasSubstr("it has 196608 bytes"));
  const auto target = open_raw_target(path, {.bytes = 2 * piece, .is_new = true});
  EXPECT_EQ(target->held_bytes(), 0u);
  target->end_growth();
  EXPECT_EQ(std::filesystem::file_size(path), 2 * piece);
}

TEST_F(RawTarget, IsNotMadeThroughALink) {
  const std::string link = directory_ / "link";
  std::filesystem::create_symlink("nowhere", link);
  EXPECT_EQ(error_of(link, {.bytes = piece, .is_new = true}),
            link + ": is a link to a file that is not there; name that file");
  EXPECT_FALSE(std::filesystem::exists(directory_ / "nowhere"));
}

TEST_F(RawTarget, IsNotLongerThanTheSourceUnlessItIsNew) {
  const std::string path = directory_.file("old", std::string(2 * piece, 'a'));
  EXPECT_THAT(error_of(path, {.bytes = piece}), HasSubstr("is no backup of the source"));
  EXPECT_EQ(std::filesystem::file_size(path), 2 * piece);
  open_raw_target(path, {.bytes = piece, .is_new = true})->end_growth();
  EXPECT_EQ(std::filesystem::file_size(path), piece);
}

TEST_F(RawTarget, IsAFileOrADevice) {
  EXPECT_THAT(error_of(directory_ / ".", {.bytes = piece, .is_new = true}),
              HasSubstr("neither a block device nor a regular file"));
  EXPECT_THAT(error_of(directory_ / "no/where", {.bytes = piece, .is_new = true}),
              HasSubstr("No such file"));
  EXPECT_THAT(error_of(directory_.file("odd", "abc"), {.bytes = piece, .is_new = true}),
              HasSubstr("no whole number of sectors"));
}

TEST_F(RawTarget, IsNotInUse) {
  const std::string path = directory_.file("old", std::string(piece, 'a'));
  const auto first = open_raw_target(path, {.bytes = piece});
  EXPECT_THAT(error_of(path, {.bytes = piece}), HasSubstr("read or written by another tool"));
}

TEST_F(RawTarget, MakesHolesOfZeros) {
  const std::string path = directory_.file("old", std::string(2 * piece, 'a'));
  const auto target = open_raw_target(path, {.bytes = 2 * piece});
  write(*target, 0, filled('\0'), true);
  target->flush();
  EXPECT_LE(blocks_of(path), piece / 512 + 8);
  EXPECT_TRUE(pd::test::content_of(path) == std::string(piece, '\0') + std::string(piece, 'a'));
}

TEST_F(RawTarget, WritesZerosWhereThereAreNoHoles) {
  failing_calls calls;
  calls.punch_error = EOPNOTSUPP;
  const std::string path = directory_.file("old", std::string(piece, 'a'));
  const auto target = open_raw_target(path, {.bytes = piece}, calls);
  write(*target, 0, filled('\0'), true);
  EXPECT_TRUE(pd::test::content_of(path) == std::string(piece, '\0'));
}

TEST_F(RawTarget, GoesOnAfterShortWrites) {
  failing_calls calls;
  calls.longest = 5000;
  const std::string path = directory_.file("old", std::string(piece, 'a'));
  const auto target = open_raw_target(path, {.bytes = piece}, calls);
  write(*target, 0, filled('b'));
  calls.flush_interruptions = 2;
  target->flush();
  EXPECT_TRUE(pd::test::content_of(path) == std::string(piece, 'b'));
}

TEST_F(RawTarget, NamesThePlaceOfAnError) {
  failing_calls calls;
  const std::string path = directory_.file("old", std::string(2 * piece, 'a'));
  const auto target = open_raw_target(path, {.bytes = 2 * piece}, calls);
  calls.write_error = ENOSPC;
  target->start({1, piece, filled('b'), false});
  try {
    target->wait();
    ADD_FAILURE() << "no error";
  } catch (const pd::device_error& e) {
    EXPECT_THAT(e.what(), HasSubstr("old: cannot write at byte 65536: No space left on device"));
  }
  calls.flush_error = EIO;
  EXPECT_THROW(target->flush(), pd::device_error);
}

TEST_F(RawTarget, MayBeALargerBlockDevice) {
  pd::test::loop_devices loops;
  const std::string file = directory_.file("disk", std::string(4 * piece, 'a'));
  const std::string loop = loops.attach(file);
  if (loop.empty()) GTEST_SKIP() << loops.why_not();
  EXPECT_THAT(error_of(loop, {.bytes = 5 * piece, .is_new = true}), HasSubstr("is too small"));
  {
    const auto target = open_raw_target(loop, {.bytes = 3 * piece});
    EXPECT_FALSE(target->reads_as_zeros(3 * piece, piece));
    EXPECT_GT(target->depth(), 1u);
    write(*target, piece, filled('b'));
    write(*target, 2 * piece, filled('\0'), true);
    target->flush();
    target->read(piece, filled('c'));
    EXPECT_EQ(std::memcmp(memory_.get(), std::string(piece, 'b').data(), piece), 0);
  }
  EXPECT_TRUE(pd::test::content_of(loop) == std::string(piece, 'a') + std::string(piece, 'b') +
                                                std::string(piece, '\0') + std::string(piece, 'a'));
}

}  // namespace
}  // namespace era
