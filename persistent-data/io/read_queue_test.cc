// SPDX-License-Identifier: GPL-3.0-or-later
// The read queue over an engine that does whatever a device may do: short reads, errors for chosen
// blocks, completions in any order. And, with both real engines, over a file.
#include "persistent-data/io/read_queue.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <stdexcept>

#include "persistent-data/io/short_transfer.h"
#include "persistent-data/testing/fake_engine.h"
#include "persistent-data/testing/scratch_device.h"

namespace persistent_data {
namespace {

using test::behaviour;
using test::blocks;
using test::fake_engine;
using test::from_to;
using test::is_stamped;
using test::ranges;
using test::request_log;
using test::stamp;

// Reads, and expects each wanted block once, right or with the error that is due.
void expect_arrivals(read_queue& queue, const blocks& wanted,
                     const std::map<std::uint64_t, int>& errors, std::uint64_t end) {
  std::vector<int> arrived(wanted.size());
  queue.read(wanted, [&](std::size_t index, const block* data, int error) {
    ASSERT_LT(index, wanted.size());
    ++arrived[index];
    const std::uint64_t number = wanted[index].value;
    const auto bad = errors.find(number);
    const int due = number >= end ? ENODATA : bad != errors.end() ? bad->second : 0;
    EXPECT_EQ(error, due) << number;
    ASSERT_EQ(data == nullptr, due != 0) << number;
    EXPECT_TRUE(!data || is_stamped(*data, number)) << number;
  });
  EXPECT_EQ(arrived, std::vector<int>(wanted.size(), 1));
}

request_log expect_read(const behaviour& b, const blocks& wanted, unsigned seed = 1) {
  request_log log;
  read_queue queue(std::make_unique<fake_engine>(b, log, seed), b.end);
  expect_arrivals(queue, wanted, b.errors, b.end);
  EXPECT_LE(log.most_under_way, b.depth);
  return log;
}

TEST(ReadQueue, NothingWanted) { EXPECT_EQ(expect_read({}, {}).requests, ranges{}); }

TEST(ReadQueue, NeighboursAreReadTogether) {
  EXPECT_EQ(expect_read({}, {{4}, {5}, {6}, {8}, {20}}).requests,
            (ranges{{4, 7}, {8, 9}, {20, 21}}));
}

TEST(ReadQueue, UpTo32OfThem) {
  EXPECT_EQ(expect_read({}, from_to(10, 42)).requests, (ranges{{10, 42}}));
  EXPECT_EQ(expect_read({}, from_to(10, 43)).requests, (ranges{{10, 42}, {42, 43}}));
}

TEST(ReadQueue, UnsortedIsReadInOrder) {
  EXPECT_EQ(expect_read({}, {{8}, {5}, {20}, {4}, {6}}).requests,
            (ranges{{4, 7}, {8, 9}, {20, 21}}));
}

TEST(ReadQueue, DuplicatesAreReadOnceAndArriveEach) {
  EXPECT_EQ(expect_read({}, {{4}, {4}, {5}, {5}, {5}}).requests, (ranges{{4, 6}}));
  EXPECT_EQ(expect_read({}, {{5}, {9}, {4}, {5}, {4}}).requests, (ranges{{4, 6}, {9, 10}}));
  EXPECT_EQ(expect_read({}, blocks(100, {7})).requests, (ranges{{7, 8}}));
  // At the seam of two requests.
  blocks wanted = from_to(0, 32);
  wanted.insert(wanted.end(), {{31}, {31}, {32}, {32}});
  EXPECT_EQ(expect_read({}, wanted).requests, (ranges{{0, 32}, {32, 33}}));
}

TEST(ReadQueue, MoreRequestsThanDepth) {
  blocks wanted;
  for (std::uint64_t b = 0; b < 1000; b += 3) wanted.push_back({b});
  const request_log log = expect_read({}, wanted);
  EXPECT_EQ(log.requests.size(), wanted.size());
  EXPECT_EQ(log.most_under_way, 4u);
}

constexpr std::uint64_t largest = std::numeric_limits<std::uint64_t>::max();

TEST(ReadQueue, PastTheEndNothingIsRead) {
  EXPECT_EQ(expect_read({.end = 10}, {{10}, {11}, {largest}, {largest / block_size}}).requests,
            ranges{});
  EXPECT_EQ(expect_read({.end = 10}, {{largest}, {10}, {9}, {8}, {10}}).requests,
            (ranges{{8, 10}}));
}

// The device has become smaller since its size was taken.
TEST(ReadQueue, TheDeviceEndsEarly) {
  for (const std::uint64_t end : {0u, 1u, 9u, 10u, 31u, 32u, 33u}) {
    request_log log;
    read_queue queue(std::make_unique<fake_engine>(behaviour{.end = end}, log, 1), 100);
    expect_arrivals(queue, from_to(0, 40), {}, end);
  }
}

TEST(ReadQueue, AnUnreadableBlockIsAlone) {
  for (const bool partial : {false, true})
    for (const std::uint64_t bad : {10u, 11u, 25u, 41u}) {
      const request_log log =
          expect_read({.errors = {{bad, EIO}}, .partial = partial}, from_to(10, 42));
      // One large read, then the rest of it block by block.
      EXPECT_EQ(log.requests.size(), 1 + (partial ? 42 - bad : 32));
    }
}

TEST(ReadQueue, EachErrorIsItsBlocks) {
  expect_read({.errors = {{3, EIO}, {4, EILSEQ}, {40, ENOMEM}}}, from_to(0, 60));
}

TEST(ReadQueue, NothingIsReadable) {
  behaviour b;
  for (std::uint64_t i = 0; i < 300; ++i) b.errors[i] = EIO;
  for (const auto order : {behaviour::in_order, behaviour::newest_first, behaviour::at_random}) {
    b.order = order;
    expect_read(b, from_to(0, 300));
  }
}

TEST(ReadQueue, ShortReadsAreFinished) {
  for (const int at_most : {0, 1, 4095, 4096, 4097, 5 * 4096, 31 * 4096 + 17})
    expect_read({.at_most = at_most}, from_to(0, 100));
}

// A device that never delivers a whole block at once.
TEST(ReadQueue, ReadsThatStayShortGoOn) {
  for (const int at_most : {512, 513, 1000, 4095})
    expect_read({.at_most = at_most, .at_most_of_one = at_most}, from_to(0, 40));
}

// Nor a whole sector: that gets nowhere, and ends.
TEST(ReadQueue, ReadsThatStayShortOfASectorAreErrors) {
  for (const int at_most : {0, 1, 511}) {
    request_log log;
    read_queue queue(std::make_unique<fake_engine>(
                         behaviour{.at_most = at_most, .at_most_of_one = at_most}, log, 1),
                     1000);
    std::map<std::uint64_t, int> errors;
    for (std::uint64_t b = 0; b < 40; ++b) errors[b] = ENODATA;
    expect_arrivals(queue, from_to(0, 40), errors, 1000);
    EXPECT_EQ(log.requests.size(), 2 + 40u);  // two large ones, then one for each block
  }
}

// The sectors of a block are not all readable.
TEST(ReadQueue, AnErrorAfterAPartOfABlockIsTheBlocks) {
  expect_read({.errors = {{3, EIO}}, .at_most = 512, .at_most_of_one = 512}, from_to(0, 10));
}

// All of it together. Each block arrives once and right, for any behaviour of the device.
TEST(ReadQueue, AnythingAtAnyTime) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 300 && !testing::Test::HasFailure(); ++round) {
    behaviour b;
    b.depth = 1 + random() % 20;
    b.partial = random() % 2;
    b.order = std::array{behaviour::in_order, behaviour::newest_first,
                         behaviour::at_random}[random() % 3];
    b.end = 1 + random() % 500;
    if (random() % 2) b.at_most = static_cast<std::int64_t>(random() % (33 * block_size));
    if (random() % 2) b.at_most_of_one = static_cast<std::int64_t>(512 + random() % block_size);
    for (auto n = random() % 20; n > 0; --n)
      b.errors[random() % b.end] = random() % 2 ? EIO : EILSEQ;
    blocks wanted;
    for (auto n = random() % 600; n > 0; --n) wanted.push_back({random() % (b.end + 10)});
    if (random() % 2) std::sort(wanted.begin(), wanted.end());
    const request_log log = expect_read(b, wanted, static_cast<unsigned>(random()));
    std::set<std::uint64_t> asked;
    for (const block_nr w : wanted) asked.insert(w.value);
    for (const range r : log.requests)
      for (std::uint64_t i = r.begin; i < r.end; ++i) EXPECT_TRUE(asked.count(i)) << i;
  }
}

// Each block arrives once and right, read ahead or not, whatever the device does.
TEST(ReadQueue, ReadsTheSameAheadOrNot) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 300 && !testing::Test::HasFailure(); ++round) {
    behaviour b{.depth = 1 + random() % 20, .partial = random() % 2 == 0};
    b.end = 1 + random() % 500;
    if (random() % 2) b.at_most = static_cast<std::int64_t>(random() % (33 * block_size));
    for (auto n = random() % 10; n > 0; --n) b.errors[random() % b.end] = EIO;
    request_log log, log_ahead;
    read_queue queue(std::make_unique<fake_engine>(b, log, static_cast<unsigned>(random())), b.end,
                     std::make_unique<fake_engine>(b, log_ahead, static_cast<unsigned>(random())));
    std::vector<blocks> lists(6);
    for (blocks& wanted : lists)
      for (auto n = random() % 300; n > 0; --n) wanted.push_back({random() % (b.end + 10)});
    for (std::size_t i = 0; i < lists.size(); ++i) {
      if (random() % 4 > 0) queue.prefetch(lists[std::min(i + random() % 2, lists.size() - 1)]);
      expect_arrivals(queue, lists[i], b.errors, b.end);
    }
  }
}

TEST(ReadQueue, ReadsNothingTwiceThatWasReadAhead) {
  request_log log, log_ahead;
  const behaviour b;
  read_queue queue(std::make_unique<fake_engine>(b, log, 1), b.end,
                   std::make_unique<fake_engine>(b, log_ahead, 1));
  queue.prefetch(from_to(10, 90));
  expect_arrivals(queue, from_to(40, 60), {}, b.end);
  expect_arrivals(queue, from_to(5, 50), {}, b.end);
  EXPECT_EQ(log.requests, (ranges{{5, 10}}));
  EXPECT_EQ(log_ahead.requests, (ranges{{10, 42}, {42, 74}, {74, 90}}));
}

TEST(ReadQueue, ServesManyReads) {
  request_log log;
  behaviour b{.errors = {{7, EIO}}, .order = behaviour::newest_first};
  read_queue queue(std::make_unique<fake_engine>(b, log, 1), b.end);
  for (const auto& wanted : {from_to(0, 200), blocks{}, blocks{{7}}, from_to(5, 9), blocks{{2000}}})
    expect_arrivals(queue, wanted, b.errors, b.end);
}

// The exception passes, and what is under way ends before its buffers do. fake_engine writes to
// them in its destructor; under the address sanitizer a queue in the wrong order fails here.
TEST(ReadQueue, AnArrivalThatThrows) {
  struct enough {};
  for (const std::size_t after : {0u, 1u, 5u, 31u, 32u, 100u}) {
    request_log log;
    behaviour b{.depth = 8, .errors = {{3, EIO}, {90, EIO}}};
    read_queue queue(std::make_unique<fake_engine>(b, log, 1), b.end);
    std::size_t arrived = 0;
    EXPECT_THROW(queue.read(from_to(0, 400),
                            [&](std::size_t, const block*, int) {
                              if (arrived++ == after) throw enough{};
                            }),
                 enough);
    EXPECT_EQ(arrived, after + 1);
  }
}

class ReadQueueOnAFile : public testing::TestWithParam<engine_choice> {};
INSTANTIATE_TEST_SUITE_P(Engines, ReadQueueOnAFile,
                         testing::Values(engine_choice::sync, engine_choice::aio,
                                         engine_choice::uring),
                         [](const auto& p) {
                           return p.param == engine_choice::sync  ? "sync"
                                  : p.param == engine_choice::aio ? "aio"
                                                                  : "uring";
                         });

TEST_P(ReadQueueOnAFile, ReadsEverything) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  test::scratch_device file(500);
  for (std::uint64_t b = 0; b < 500; ++b) stamp(file[{b}], b);
  const block_device device = file.open(GetParam());
  read_queue queue(device.make_engine(), device.nr_blocks());
  expect_arrivals(queue, from_to(0, 510), {}, 500);
  for (int round = 0; round < 20; ++round) {
    blocks wanted;
    for (int i = 0; i < 700; ++i) wanted.push_back({random() % 510});
    expect_arrivals(queue, wanted, {}, 500);
  }
  file.cut(123);
  expect_arrivals(queue, from_to(0, 500), {}, 123);
}

}  // namespace
}  // namespace persistent_data
