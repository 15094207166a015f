// SPDX-License-Identifier: GPL-3.0-or-later
// Which outputs are opened, which are refused and in what words.
#include "persistent-data/io/output_device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/testing/scratch_directory.h"

namespace persistent_data {
namespace {

// A directory of its own for each test.
class OutputDevice : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory / name; }

  std::string file(const std::string& name, std::uint64_t bytes) const {
    return directory.empty_file(name, bytes);
  }

  test::scratch_directory directory;
};

// The message without the name it begins with; empty if the device opens.
std::string refusal(const std::string& path, std::uint64_t wanted_blocks = 300) {
  try {
    const output_device opened(path, wanted_blocks);
    return "";
  } catch (const device_error& error) {
    const std::string message = error.what(), begin = path + ": ";
    EXPECT_EQ(message.substr(0, begin.size()), begin);
    return message.substr(std::min(begin.size(), message.size()));
  }
}

TEST_F(OutputDevice, ThatIsNotThereIsToldHowToBeMade) {
  EXPECT_EQ(refusal(path("new.img")),
            "is not there; make it so large first: truncate -s 2M " + path("new.img"));
  EXPECT_FALSE(std::filesystem::exists(path("new.img")));
}

TEST_F(OutputDevice, ThatIsSmallerThanABlock) {
  EXPECT_EQ(
      refusal(file("empty", 0), 256),
      "is too small: it has 0 bytes; make it so large first: truncate -s 1M " + path("empty"));
  EXPECT_EQ(
      refusal(file("small", 4095), 257),
      "is too small: it has 4095 bytes; make it so large first: truncate -s 2M " + path("small"));
  EXPECT_EQ(refusal(file("block", 4096)), "");
}

TEST_F(OutputDevice, ThatCanHoldNoMetadata) {
  const std::string wrong_type = ", neither a block device nor a regular file";
  EXPECT_EQ(refusal(directory.string()), "is a directory" + wrong_type);
  EXPECT_EQ(refusal("/dev/null"), "is a character device" + wrong_type);
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(refusal(path("pipe")), "is a pipe" + wrong_type);
}

TEST_F(OutputDevice, CountsWholeBlocks) {
  const output_device device(file("file", 3 * 4096 + 4095), 1);
  EXPECT_EQ(device.nr_blocks(), 3u);
  EXPECT_EQ(device.path(), path("file"));
  EXPECT_FALSE(device.is_block_device());
}

TEST_F(OutputDevice, IsSharedWithNobody) {
  const std::string shared = file("file", 8192);
  const std::string in_use = "is being read or written by another tool; wait until it has finished";
  {
    const output_device first(shared, 1);
    EXPECT_EQ(refusal(shared), in_use);
    EXPECT_THROW(block_device(shared, access::reading), device_error);
  }
  {
    const block_device reader(shared, access::reading);
    EXPECT_EQ(refusal(shared), in_use);
  }
  EXPECT_EQ(refusal(shared), "");
}

TEST_F(OutputDevice, WritesWhereItIsTold) {
  for (const engine_choice engine :
       {engine_choice::automatic, engine_choice::sync, engine_choice::aio, engine_choice::uring}) {
    const std::string written = file("file", 0);
    std::filesystem::resize_file(written, 1000 * block_size);
    {
      const output_device device(written, 1, engine);
      const auto queue = device.make_queue();
      block b;
      for (std::uint64_t i = 5; i < 700; ++i) {
        b.bytes.fill(static_cast<std::byte>(i % 251));
        queue->write({i}, b);
      }
      queue->drain_and_flush();
    }
    ASSERT_EQ(std::filesystem::file_size(written), 1000 * block_size);
    std::ifstream in(written, std::ios::binary);
    for (std::uint64_t i = 0; i < 1000; ++i) {
      std::string content(block_size, '?');
      in.read(content.data(), block_size);
      const char wanted = i >= 5 && i < 700 ? static_cast<char>(i % 251) : '\0';
      ASSERT_EQ(content, std::string(block_size, wanted)) << i;
    }
  }
}

class flush_calls final : public system_calls {
 public:
  int interruptions = 0, error = 0, flushes = 0;

  int fsync(int fd) override { return flush(fd); }
  int fdatasync(int fd) override { return flush(fd); }

 private:
  int flush(int fd) {
    ++flushes;
    errno = interruptions > 0 ? EINTR : error;
    if (interruptions > 0) return --interruptions, -1;
    return error != 0 ? -1 : system_calls::fsync(fd);
  }
};

TEST_F(OutputDevice, FlushesWhatIsWritten) {
  flush_calls calls;
  const output_device device(file("file", 8 * block_size), 1, engine_choice::automatic, calls);
  const auto queue = device.make_queue();
  queue->write({1}, block{});
  EXPECT_EQ(calls.flushes, 0);
  queue->drain_and_flush();
  EXPECT_EQ(calls.flushes, 1);
  calls.interruptions = 2;
  queue->drain_and_flush();
  EXPECT_EQ(calls.flushes, 4);
  const auto store = device.make_store();
  store->flush();
  EXPECT_EQ(calls.flushes, 5);
}

TEST_F(OutputDevice, AFlushThatFailsIsAnError) {
  flush_calls calls;
  const output_device device(file("file", 8 * block_size), 1, engine_choice::automatic, calls);
  calls.error = EIO;
  EXPECT_THROW(device.make_queue()->drain_and_flush(), device_error);
  EXPECT_THROW(device.make_store()->flush(), device_error);
}

TEST(HowToEnlarge, GivesACommandThatAShellTakes) {
  EXPECT_EQ(how_to_enlarge("/tmp/a-b_c.img", false, 256),
            "make it so large first: truncate -s 1M /tmp/a-b_c.img");
  EXPECT_EQ(how_to_enlarge("my file", false, 257),
            "make it so large first: truncate -s 2M 'my file'");
  EXPECT_EQ(how_to_enlarge("it's", false, 1), "make it so large first: truncate -s 1M 'it'\\''s'");
  EXPECT_EQ(how_to_enlarge("-x", false, 1), "make it so large first: truncate -s 1M ./'-x'");
  EXPECT_EQ(how_to_enlarge("/dev/vg/era", true, 10000), "take a device of 40 MiB");
}

}  // namespace
}  // namespace persistent_data
