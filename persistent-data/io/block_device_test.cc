// SPDX-License-Identifier: GPL-3.0-or-later
// Which devices are opened, which are refused and in what words, and who shares them with whom.
#include "persistent-data/io/block_device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "persistent-data/io/read_queue.h"
#include "persistent-data/testing/blocks.h"
#include "persistent-data/testing/loop_devices.h"
#include "persistent-data/testing/scratch_device.h"
#include "persistent-data/testing/scratch_directory.h"

namespace persistent_data {
namespace {

// A directory of its own for each test.
class BlockDevice : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory / name; }

  std::string file(const std::string& name, std::uint64_t bytes) const {
    return directory.empty_file(name, bytes);
  }

  test::scratch_directory directory;
};

// The message without the name it begins with; empty if the device opens.
std::string refusal(const std::string& path, access how = access::reading) {
  try {
    const block_device opened(path, how);
    return "";
  } catch (const device_error& error) {
    const std::string message = error.what(), begin = path + ": ";
    EXPECT_EQ(message.substr(0, begin.size()), begin);
    return message.substr(std::min(begin.size(), message.size()));
  }
}

constexpr auto wrong_type = ", neither a block device nor a regular file";

TEST_F(BlockDevice, ThatIsNotThere) {
  EXPECT_EQ(refusal(path("nothing")), "No such file or directory");
}

TEST_F(BlockDevice, ADirectory) {
  EXPECT_EQ(refusal(directory.string()), std::string("is a directory") + wrong_type);
}

TEST_F(BlockDevice, ACharacterDevice) {
  EXPECT_EQ(refusal("/dev/null"), std::string("is a character device") + wrong_type);
  EXPECT_EQ(refusal("/dev/zero"), std::string("is a character device") + wrong_type);
}

// Nobody writes to it: an open that waits for a writer would not return.
TEST_F(BlockDevice, APipe) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(refusal(path("pipe")), std::string("is a pipe") + wrong_type);
}

TEST_F(BlockDevice, ASocket) {
  ASSERT_EQ(::mknod(path("socket").c_str(), S_IFSOCK | 0600, 0), 0);
  EXPECT_EQ(refusal(path("socket")), std::string("is a socket") + wrong_type);
}

TEST_F(BlockDevice, ThatIsTooSmall) {
  for (const int bytes : {0, 1, 4095})
    EXPECT_EQ(refusal(file("small", static_cast<std::uint64_t>(bytes))),
              fmt::format("is too small: it has {} bytes, and metadata begins with a superblock of "
                          "4096",
                          bytes));
}

TEST_F(BlockDevice, WholeBlocksCount) {
  for (const auto& [bytes, blocks] : {std::pair{4096, 1}, {8191, 1}, {8192, 2}, {1 << 20, 256}}) {
    const block_device d(file("sized", static_cast<std::uint64_t>(bytes)), access::reading);
    EXPECT_EQ(d.nr_blocks(), static_cast<std::uint64_t>(blocks)) << bytes;
    EXPECT_EQ(d.path(), path("sized"));
    EXPECT_GE(d.nr_workers(), 1u);
  }
}

// Larger than any file system would store it; all holes.
TEST_F(BlockDevice, AsLargeAsMetadataCanBe) {
  const block_device d(file("large", max_metadata_blocks * block_size + 1), access::reading);
  EXPECT_EQ(d.nr_blocks(), max_metadata_blocks);
}

TEST_F(BlockDevice, ALinkIsFollowed) {
  file("target", 4096);
  std::filesystem::create_symlink(path("target"), path("link"));
  EXPECT_EQ(refusal(path("link")), "");
  std::filesystem::create_symlink(path("nothing"), path("dangling"));
  EXPECT_EQ(refusal(path("dangling")), "No such file or directory");
}

// Root may read everything, so a child process that is not root tries.
TEST_F(BlockDevice, ThatMayNotBeRead) {
  const std::string secret = file("secret", 4096);
  std::filesystem::permissions(directory.string(), std::filesystem::perms(0755));
  std::filesystem::permissions(secret, std::filesystem::perms::none);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) ::_exit(2);
    ::_exit(refusal(secret) == "Permission denied" ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "cannot become a user who is not root";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(BlockDevice, NotWhileAWriterHasIt) {
  const std::string locked = file("locked", 4096);
  const int writer = ::open(locked.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(writer, 0);
  ASSERT_EQ(::flock(writer, LOCK_EX | LOCK_NB), 0);
  EXPECT_EQ(refusal(locked), "is being written by another tool; wait until it has finished");
  // A held metadata snapshot does not change.
  EXPECT_EQ(refusal(locked, access::shared), "");
  ASSERT_EQ(::flock(writer, LOCK_UN), 0);
  EXPECT_EQ(refusal(locked), "");
  ::close(writer);
}

TEST_F(BlockDevice, ReadersKeepWritersOutAndNotEachOther) {
  const std::string locked = file("locked", 4096);
  const int writer = ::open(locked.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(writer, 0);
  {
    const block_device first(locked, access::reading), second(locked, access::reading);
    EXPECT_EQ(::flock(writer, LOCK_EX | LOCK_NB), -1);
    EXPECT_EQ(errno, EWOULDBLOCK);
  }
  EXPECT_EQ(::flock(writer, LOCK_EX | LOCK_NB), 0);
  ::close(writer);
}

// A constructor that throws must close its descriptor, and so give up its lock.
TEST_F(BlockDevice, ARefusedOneIsClosed) {
  const int before = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(before);
  EXPECT_NE(refusal(file("small", 5)), "");
  const int writer = ::open(file("locked", 4096).c_str(), O_RDWR | O_CLOEXEC);
  EXPECT_EQ(writer, before);
  ASSERT_EQ(::flock(writer, LOCK_EX), 0);
  EXPECT_NE(refusal(path("locked")), "");
  const int after = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(after, before + 1);
  ::close(after);
  ::close(writer);
}

TEST_F(BlockDevice, IsTheSameFileUnderEveryName) {
  const std::string one = file("one", 4096), other = file("other", 4096);
  std::filesystem::create_hard_link(one, path("hard"));
  std::filesystem::create_symlink(one, path("soft"));
  const block_device d(one, access::reading);
  EXPECT_TRUE(d.overlaps(one));
  EXPECT_TRUE(d.overlaps(path("hard")));
  EXPECT_TRUE(d.overlaps(path("soft")));
  EXPECT_FALSE(d.overlaps(other));
  EXPECT_FALSE(d.overlaps(path("nothing")));
  EXPECT_FALSE(d.overlaps(directory.string()));
  EXPECT_FALSE(d.overlaps("/dev/null"));
  // The file that was opened counts, not the one that has its name now.
  std::filesystem::rename(other, one);
  EXPECT_FALSE(d.overlaps(one));
  EXPECT_TRUE(d.overlaps(path("hard")));
}

TEST_F(BlockDevice, TellsWhoWatchesOfEachRead) {
  const std::string name = file("watched", 20 * block_size);
  for (const auto engine : {engine_choice::sync, engine_choice::aio, engine_choice::uring}) {
    block_device device(name, access::shared, engine);
    std::uint64_t bytes = 0;
    const auto read_all = [&] {
      read_queue queue(device.make_engine(), device.nr_blocks());
      std::vector<block_nr> all;
      for (std::uint64_t b = 0; b < 25; ++b) all.push_back({b});  // and some past the end
      queue.read(all, [](std::size_t, const block*, int) {});
    };
    read_all();
    EXPECT_EQ(bytes, 0u);
    device.watch([&](std::uint64_t more) { bytes += more; });
    read_all();
    EXPECT_EQ(bytes, 20 * block_size);
    device.watch({});
    read_all();
    EXPECT_EQ(bytes, 20 * block_size);
  }
}

TEST_F(BlockDevice, EveryEngineReads) {
  const std::string name = file("data", 2 * block_size);
  block expected = test::make_leaf<le64>({1}, {1, 2}, {3, 4});
  std::fstream(name, std::ios::in | std::ios::out)
      .seekp(block_size)
      .write(reinterpret_cast<const char*>(expected.bytes.data()), block_size);
  for (const auto choice :
       {engine_choice::automatic, engine_choice::sync, engine_choice::aio, engine_choice::uring}) {
    const block_device d(name, access::reading, choice);
    const auto engine = d.make_engine();
    block got{};
    engine->submit({got.bytes.data(), block_size, block_size, 5});
    const io_completion done = engine->wait();
    EXPECT_EQ(done.tag, 5u);
    EXPECT_EQ(done.result, std::int64_t{block_size});
    EXPECT_EQ(got.bytes, expected.bytes);
  }
}

// A loop device over a file of 64 blocks, block b filled with b; none if the system has none.
class LoopDevice : public BlockDevice {
 protected:
  void SetUp() override {
    backing_ = ::open(file("backing", 0).c_str(), O_RDWR | O_CLOEXEC);
    for (int b = 0; b < 64; ++b) {
      block filled;
      filled.bytes.fill(static_cast<std::byte>(b));
      ASSERT_EQ(::write(backing_, filled.bytes.data(), block_size), ssize_t{block_size});
    }
    name_ = loops_.attach(path("backing"));
    if (name_.empty()) GTEST_SKIP() << loops_.why_not();
    loop_ = ::open(name_.c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_GE(loop_, 0);
  }
  void TearDown() override {
    if (loop_ >= 0) ::close(loop_);
    if (backing_ >= 0) ::close(backing_);
  }

  test::loop_devices loops_;
  std::string name_;
  int loop_ = -1, backing_ = -1;
};

TEST_F(LoopDevice, HasTheDevicesSize) {
  EXPECT_EQ(block_device(name_, access::reading).nr_blocks(), 64u);
}

TEST_F(LoopDevice, OpensExclusivelyOnce) {
  {
    const block_device first(name_, access::reading);
    EXPECT_EQ(refusal(name_).substr(0, 48), "is in use: mounted, or held by device-mapper; st");
    EXPECT_EQ(refusal(name_, access::shared), "");
  }
  EXPECT_EQ(refusal(name_), "");
}

TEST_F(LoopDevice, SharesAsOftenAsOneLikes) {
  const block_device first(name_, access::shared), second(name_, access::shared);
  EXPECT_EQ(refusal(name_), "");
}

TEST_F(LoopDevice, IsTheSameUnderAnotherNode) {
  const block_device d(name_, access::reading);
  struct stat status {};
  ASSERT_EQ(::stat(name_.c_str(), &status), 0);
  if (::mknod(path("node").c_str(), S_IFBLK | 0600, status.st_rdev) != 0)
    GTEST_SKIP() << "cannot make a device node: " << std::strerror(errno);
  EXPECT_TRUE(d.overlaps(path("node")));
  EXPECT_TRUE(d.overlaps(name_));
}

TEST_F(LoopDevice, IsTheSameAsItsFile) {
  {
    const block_device d(name_, access::reading);
    EXPECT_TRUE(d.overlaps(path("backing")));
    EXPECT_FALSE(d.overlaps(file("other", 4096)));
  }
  const block_device f(path("backing"), access::reading);
  EXPECT_TRUE(f.overlaps(name_));
  const std::string again = loops_.attach(path("backing"));
  ASSERT_NE(again, "") << loops_.why_not();
  EXPECT_TRUE(f.overlaps(again));
  EXPECT_TRUE(block_device(name_, access::reading).overlaps(again));
}

TEST_F(LoopDevice, EveryEngineReadsTheSame) {
  for (const auto choice :
       {engine_choice::automatic, engine_choice::sync, engine_choice::aio, engine_choice::uring}) {
    const block_device d(name_, access::shared, choice);
    read_queue queue(d.make_engine(), d.nr_blocks());
    std::vector<block_nr> wanted;
    for (std::uint64_t b = 0; b < 64; ++b) wanted.push_back({b});
    std::size_t arrived = 0;
    queue.read(wanted, [&](std::size_t index, const block* data, int error) {
      ++arrived;
      ASSERT_EQ(error, 0) << index;
      for (const std::byte x : data->bytes) ASSERT_EQ(x, static_cast<std::byte>(index));
    });
    EXPECT_EQ(arrived, 64u);
  }
}

// A buffered read would answer from the page cache what it saw the first time.
TEST_F(LoopDevice, ReadsPastThePageCache) {
  const auto first_byte = [](const block_device& d) {
    const auto engine = d.make_engine();
    block got{};
    engine->submit({got.bytes.data(), block_size, 3 * block_size, 0});
    EXPECT_EQ(engine->wait().result, std::int64_t{block_size});
    return std::to_integer<int>(got.bytes[0]);
  };
  block cached{};
  ASSERT_EQ(::pread(loop_, cached.bytes.data(), block_size, 3 * block_size), ssize_t{block_size});
  for (const auto choice : {engine_choice::sync, engine_choice::aio, engine_choice::uring}) {
    const block_device d(name_, access::shared, choice);
    EXPECT_EQ(first_byte(d), 3);
    block changed;
    changed.bytes.fill(std::byte{200});
    ASSERT_EQ(::pwrite(backing_, changed.bytes.data(), block_size, 3 * block_size),
              ssize_t{block_size});
    EXPECT_EQ(first_byte(d), 200);
    changed.bytes.fill(std::byte{3});
    ASSERT_EQ(::pwrite(backing_, changed.bytes.data(), block_size, 3 * block_size),
              ssize_t{block_size});
  }
}

}  // namespace
}  // namespace persistent_data
