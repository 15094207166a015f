// SPDX-License-Identifier: GPL-3.0-or-later
// A device does its worst to the write queue: short writes, errors, any order of completions.
#include "persistent-data/io/write_queue.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/testing/faulty_device.h"

namespace persistent_data {
namespace {

using test::faulty_device;
using test::scratch_device;

constexpr std::uint64_t run = 256;  // blocks that leave together

block stamped(std::uint64_t number) {
  block b{};
  for (std::size_t at = 0; at + sizeof number <= block_size; at += 512)
    std::memcpy(b.bytes.data() + at, &number, sizeof number);
  return b;
}

bool holds(const scratch_device& device, std::uint64_t where, std::uint64_t number) {
  return device[{where}].bytes == stamped(number).bytes;
}

std::string error_of(const std::function<void()>& step) {
  try {
    step();
    return "";
  } catch (const device_error& e) {
    return e.what();
  }
}

class WriteQueue : public testing::Test {
 protected:
  static constexpr std::uint64_t nr_blocks = 5000;

  // Blocks [begin, end), each stamped with its number.
  static void write(write_queue& queue, std::uint64_t begin, std::uint64_t end) {
    for (std::uint64_t i = begin; i < end; ++i) queue.write({i}, stamped(i));
  }

  void expect_written(std::uint64_t begin, std::uint64_t end) const {
    for (std::uint64_t i = begin; i < end; ++i) ASSERT_TRUE(holds(disk, i, i)) << i;
  }

  scratch_device disk{nr_blocks};
  faulty_device device{disk};
};

TEST_F(WriteQueue, WritesInLargePieces) {
  const auto queue = device.make_queue();
  write(*queue, 1, 1 + 3 * run + 7);
  queue->drain_and_flush();
  expect_written(1, 1 + 3 * run + 7);
  EXPECT_TRUE(is_zero(disk[{0}]));
  EXPECT_TRUE(is_zero(disk[{1 + 3 * run + 7}]));
  EXPECT_EQ(device.requests(), (std::vector<range>{{1, 257}, {257, 513}, {513, 769}, {769, 776}}));
  EXPECT_EQ(device.flushes(), 1u);
}

TEST_F(WriteQueue, KeepsSeveralUnderWay) {
  const auto queue = device.make_queue();
  write(*queue, 0, 10 * run);
  queue->drain_and_flush();
  EXPECT_EQ(device.most_under_way(), device.depth);
  expect_written(0, 10 * run);
}

TEST_F(WriteQueue, GapsAndStepsBackBeginANewPiece) {
  const auto queue = device.make_queue();
  write(*queue, 10, 12);
  write(*queue, 20, 21);
  write(*queue, 5, 7);
  queue->write({6}, stamped(66));
  queue->drain_and_flush();
  EXPECT_EQ(device.requests(), (std::vector<range>{{10, 12}, {20, 21}, {5, 7}, {6, 7}}));
  EXPECT_TRUE(holds(disk, 11, 11) && holds(disk, 20, 20) && holds(disk, 5, 5));
}

TEST_F(WriteQueue, NothingIsWrittenForNothing) {
  const auto queue = device.make_queue();
  queue->drain_and_flush();
  EXPECT_TRUE(device.requests().empty());
  EXPECT_EQ(device.flushes(), 1u);
}

TEST_F(WriteQueue, GoesOnAfterAFlush) {
  const auto queue = device.make_queue();
  write(*queue, 1, 5);
  queue->drain_and_flush();
  write(*queue, 5, 9);
  queue->write({0}, stamped(0));
  queue->drain_and_flush();
  expect_written(0, 9);
  EXPECT_EQ(device.flushes(), 2u);
}

TEST_F(WriteQueue, WhatWasNotFlushedMayBeLost) {
  const auto queue = device.make_queue();
  write(*queue, 1, 5);
  queue->drain_and_flush();
  write(*queue, 5, 5 + 2 * run);
  device.lose_power(faulty_device::arriving::nothing);
  expect_written(1, 5);
  EXPECT_TRUE(is_zero(disk[{5}]));
}

// Each short transfer is continued, also when all slots are under way.
TEST_F(WriteQueue, ShortWritesGoOn) {
  for (const std::size_t longest : {std::size_t{512}, block_size - 1, block_size, block_size + 1,
                                    3 * block_size - 1, 100 * block_size, 255 * block_size}) {
    for (const bool newest_first : {false, true}) {
      for (const std::size_t depth : {1u, 2u, 5u}) {
        SCOPED_TRACE(fmt::format("{} {} {}", longest, newest_first, depth));
        scratch_device other(nr_blocks);
        faulty_device short_device(other);
        short_device.longest_write = longest;
        short_device.newest_first = newest_first;
        short_device.depth = depth;
        const auto queue = short_device.make_queue();
        const std::uint64_t end = longest < block_size ? 3 + run + 9 : 3 + 7 * run + 9;
        write(*queue, 3, end);
        queue->drain_and_flush();
        for (std::uint64_t i = 3; i < end; ++i) ASSERT_TRUE(holds(other, i, i)) << i;
        EXPECT_LE(short_device.most_under_way(), depth);
      }
    }
  }
}

TEST_F(WriteQueue, AWriteThatFailsIsAnErrorForGood) {
  device.failing_operation = 2;
  const auto queue = device.make_queue("somewhere");
  const std::string wanted =
      "somewhere: metadata blocks 256 to 511 cannot be written: " + std::string(std::strerror(EIO));
  EXPECT_EQ(error_of([&] {
              write(*queue, 0, 3 * run);
              queue->drain_and_flush();
            }),
            wanted);
  // Later writes would succeed, but what failed is not there.
  EXPECT_EQ(error_of([&] { queue->write({4000}, stamped(4000)); }), wanted);
  EXPECT_EQ(error_of([&] { queue->drain_and_flush(); }), wanted);
}

TEST_F(WriteQueue, AWriteThatGetsNowhereMeansNoSpace) {
  device.failing_operation = 1;
  device.error = 0;
  const auto queue = device.make_queue();
  queue->write({7}, stamped(7));
  EXPECT_EQ(error_of([&] { queue->drain_and_flush(); }),
            "out: metadata blocks 7 to 7 cannot be written: " + std::string(std::strerror(ENOSPC)));
}

// Each write ends within a sector, so that the queue would send the same again and again.
TEST_F(WriteQueue, AWriteThatStaysShortOfASectorEnds) {
  device.longest_write = 511;
  const auto queue = device.make_queue();
  queue->write({7}, stamped(7));
  EXPECT_EQ(error_of([&] { queue->drain_and_flush(); }),
            "out: metadata blocks 7 to 7 cannot be written: " + std::string(std::strerror(ENOSPC)));
  EXPECT_EQ(device.operations(), 1u);
}

// The device is full in the middle of a block: the error is that of the second write.
TEST_F(WriteQueue, AnErrorAfterAPartOfABlockIsTheDevices) {
  device.longest_write = 1024;
  device.failing_operation = 2;
  device.error = EFBIG;
  const auto queue = device.make_queue();
  queue->write({7}, stamped(7));
  EXPECT_EQ(error_of([&] { queue->drain_and_flush(); }),
            "out: metadata blocks 7 to 7 cannot be written: " + std::string(std::strerror(EFBIG)));
}

TEST_F(WriteQueue, AWriteThatFailsAfterAShortOneNamesTheRest) {
  device.longest_write = 100 * block_size;
  device.failing_operation = 2;
  const auto queue = device.make_queue();
  write(*queue, 1000, 1000 + run);
  EXPECT_EQ(
      error_of([&] { queue->drain_and_flush(); }),
      "out: metadata blocks 1100 to 1255 cannot be written: " + std::string(std::strerror(EIO)));
}

TEST_F(WriteQueue, AFlushThatFailsIsAnErrorForGood) {
  device.failing_operation = 2;
  device.error = ENOSPC;
  const auto queue = device.make_queue();
  queue->write({7}, stamped(7));
  const std::string wanted =
      "out: cannot flush what was written: " + std::string(std::strerror(ENOSPC));
  EXPECT_EQ(error_of([&] { queue->drain_and_flush(); }), wanted);
  // The kernel reports a lost write once: a second flush that succeeds would tell nothing.
  EXPECT_EQ(error_of([&] { queue->drain_and_flush(); }), wanted);
}

TEST_F(WriteQueue, EveryOperationThatFailsIsReported) {
  for (std::uint64_t n = 1; n < 100; ++n) {
    scratch_device other(nr_blocks);
    faulty_device failing(other);
    failing.failing_operation = n;
    failing.newest_first = n % 2 == 0;
    const auto queue = failing.make_queue();
    const std::string error = error_of([&] {
      write(*queue, 1, 4 * run);
      queue->drain_and_flush();
      write(*queue, 4 * run, 6 * run);
      queue->drain_and_flush();
    });
    if (failing.operations() < n) {
      EXPECT_EQ(error, "");
      EXPECT_EQ(n, 9u);  // six writes, two flushes
      return;
    }
    EXPECT_NE(error, "") << n;
  }
}

TEST_F(WriteQueue, WritesToARealFile) {
  for (const engine_choice choice : {engine_choice::sync, engine_choice::aio}) {
    scratch_device file(nr_blocks);
    const int fd = ::open(file.path().c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    {
      auto engine = choice == engine_choice::aio ? make_aio_engine(fd) : make_sync_engine(fd);
      if (!engine) GTEST_SKIP() << "no aio to be had";
      write_queue queue(
          std::move(engine), [] { return 0; }, "file");
      write(queue, 1, 4000);
      queue.drain_and_flush();
    }
    ::close(fd);
    for (std::uint64_t i = 1; i < 4000; ++i) ASSERT_TRUE(holds(file, i, i)) << i;
  }
}

}  // namespace
}  // namespace persistent_data
