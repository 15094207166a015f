// SPDX-License-Identifier: GPL-3.0-or-later
// For tests of engines: a file of numbered blocks, and system calls that fail.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "config.h"
#include "persistent-data/format/block.h"
#include "persistent-data/io/io_engine.h"

#ifdef HAVE_LIBURING
#include <liburing.h>
#endif

namespace persistent_data::test {

inline constexpr std::uint64_t file_blocks = 100;
inline constexpr std::size_t ragged_end = 1000;  // bytes after the last whole block

class engine_on_a_file : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "io_engine.XXXXXX").string();
    fd = ::mkstemp(name.data());
    ASSERT_GE(fd, 0);
    ::unlink(name.c_str());
    for (std::uint64_t b = 0; b <= file_blocks; ++b) {
      block filled;
      filled.bytes.fill(static_cast<std::byte>(b));
      const std::size_t bytes = b < file_blocks ? block_size : ragged_end;
      ASSERT_EQ(::write(fd, filled.bytes.data(), bytes), static_cast<ssize_t>(bytes));
    }
  }
  void TearDown() override { ::close(fd); }

  // Buffers of 32 blocks, filled with what is in no block of the file.
  block* fresh_buffer() {
    buffers.push_back(std::make_unique<block[]>(32));
    for (std::size_t i = 0; i < 32; ++i) buffers.back()[i].bytes.fill(std::byte{0xee});
    return buffers.back().get();
  }

  static bool holds(const block& b, std::uint64_t number) {
    return std::all_of(b.bytes.begin(), b.bytes.end(),
                       [&](std::byte x) { return x == static_cast<std::byte>(number); });
  }

  int fd = -1;
  std::vector<std::unique_ptr<block[]>> buffers;
};

// Calls that fail a number of times before they are made, and count.
class failing_calls final : public system_calls {
 public:
  int interruptions = 0;         // of each call, with EINTR
  int refusals = 0;              // of a submission, with EAGAIN; negative: of each
  int given_back = 0;            // by a ring, with EAGAIN
  int submits = 0, singles = 0;  // io_submit and io_uring_submit; pread and pwrite

  ssize_t pread(int fd, void* to, std::size_t bytes, off_t offset) override {
    ++singles;
    return interrupted() ? -1 : system_calls::pread(fd, to, bytes, offset);
  }
  ssize_t pwrite(int fd, const void* from, std::size_t bytes, off_t offset) override {
    ++singles;
    return interrupted() ? -1 : system_calls::pwrite(fd, from, bytes, offset);
  }
  int io_submit(io_context_t context, long count, iocb** requests) override {
    const int wrong = submission();
    return wrong != 0 ? wrong : system_calls::io_submit(context, count, requests);
  }
  int io_uring_submit(io_uring* ring) override {
    const int wrong = submission();
    return wrong != 0 ? wrong : system_calls::io_uring_submit(ring);
  }
  int io_uring_wait_cqe(io_uring* ring, io_uring_cqe** done) override {
    if (interrupted()) return -EINTR;
    const int wrong = system_calls::io_uring_wait_cqe(ring, done);
#ifdef HAVE_LIBURING
    if (wrong == 0 && given_back > 0) {
      --given_back;
      (*done)->res = -EAGAIN;
    }
#endif
    return wrong;
  }
  int io_getevents(io_context_t context, long at_least, long at_most, io_event* events,
                   timespec* timeout) override {
    return interrupted() ? -EINTR
                         : system_calls::io_getevents(context, at_least, at_most, events, timeout);
  }

 private:
  int submission() {
    ++submits;
    // An engine that asks for ever would not end.
    if (submits > 1000) throw std::logic_error("a request is submitted without end");
    if (interrupted()) return -EINTR;
    if (refusals == 0) return 0;
    refusals -= refusals > 0;
    return -EAGAIN;
  }
  bool interrupted() {
    if (interruptions == 0) return false;
    --interruptions;
    errno = EINTR;
    return true;
  }
};

// Reads blocks 0 to 9, three at once; each arrives once and right.
inline void read_ten(io_engine& engine, block* to) {
  std::map<std::size_t, int> arrived;
  std::size_t under_way = 0;
  const auto wait = [&] {
    const io_completion done = engine.wait();
    ++arrived[done.tag];
    EXPECT_EQ(done.result, std::int64_t{block_size});
    --under_way;
  };
  for (std::size_t b = 0; b < 10; ++b) {
    if (under_way == 3) wait();
    engine.submit({to[b].bytes.data(), block_size, b * block_size, b});
    ++under_way;
  }
  while (under_way > 0) wait();
  EXPECT_EQ(arrived.size(), 10u);
  for (const auto& [tag, times] : arrived) EXPECT_EQ(times, 1) << tag;
}

}  // namespace persistent_data::test
