// SPDX-License-Identifier: GPL-3.0-or-later
// A block that is read ahead is delivered right or not at all, whatever the device does and in
// whatever order blocks are asked for; and the device is kept busy meanwhile.
#include "persistent-data/io/read_ahead.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "persistent-data/testing/fake_engine.h"

namespace persistent_data {
namespace {

using test::behaviour;
using test::blocks;
using test::fake_engine;
using test::from_to;
using test::is_stamped;
using test::ranges;
using test::request_log;

struct ReadAhead : testing::Test {
  request_log log;
  behaviour device;

  read_ahead make() {
    return read_ahead(std::make_unique<fake_engine>(device, log, 1), device.end);
  }
  static void expect_found(read_ahead& ahead, const blocks& wanted) {
    for (const block_nr b : wanted) {
      const block* found = ahead.find(b);
      ASSERT_TRUE(found) << b.value;
      EXPECT_TRUE(is_stamped(*found, b.value)) << b.value;
    }
  }
};

TEST_F(ReadAhead, HasNothingAtFirst) {
  read_ahead ahead = make();
  EXPECT_EQ(ahead.find({0}), nullptr);
  EXPECT_EQ(log.requests, ranges{});
}

TEST_F(ReadAhead, BeginsAtOnceAndJoinsNeighbours) {
  read_ahead ahead = make();
  ahead.prefetch(blocks{{9}, {4}, {5}, {5}, {6}, {20}});
  EXPECT_EQ(log.requests, (ranges{{4, 7}, {9, 10}, {20, 21}}));
  expect_found(ahead, {{20}, {4}, {6}, {5}, {9}, {9}});
  for (const std::uint64_t other : {3u, 7u, 8u, 10u, 21u}) EXPECT_EQ(ahead.find({other}), nullptr);
}

TEST_F(ReadAhead, KeepsAsManyUnderWayAsTheEngineTakes) {
  read_ahead ahead = make();
  blocks wanted;
  for (std::uint64_t b = 0; b < 40; b += 2) wanted.push_back({b});
  ahead.prefetch(wanted);
  EXPECT_EQ(log.requests.size(), device.depth);
  expect_found(ahead, {{0}});
  EXPECT_EQ(log.requests.size(), device.depth + 1) << "one has arrived, and one takes its place";
  expect_found(ahead, wanted);
  EXPECT_EQ(log.requests.size(), wanted.size());
  EXPECT_EQ(log.most_under_way, device.depth);
}

TEST_F(ReadAhead, KeepsTwoLists) {
  read_ahead ahead = make();
  ahead.prefetch(from_to(0, 100));
  ahead.prefetch(from_to(200, 300));
  expect_found(ahead, from_to(0, 100));
  ahead.prefetch(from_to(400, 500));
  EXPECT_EQ(ahead.find({50}), nullptr);
  expect_found(ahead, from_to(200, 300));
  expect_found(ahead, from_to(400, 500));
}

// The first list is given up while much of it is under way, and some was not begun.
TEST_F(ReadAhead, GivesUpWhatNobodyAskedFor) {
  device.order = behaviour::newest_first;
  read_ahead ahead = make();
  for (std::uint64_t first = 0; first < 800; first += 200)
    ahead.prefetch(from_to(first, first + 200));
  expect_found(ahead, from_to(400, 800));
  EXPECT_EQ(ahead.find({399}), nullptr);
}

TEST_F(ReadAhead, LeavesOutWhatIsTooMuchOrPastTheEnd) {
  device.end = 5000;
  read_ahead ahead = make();
  ahead.prefetch(from_to(4000, 6000));
  expect_found(ahead, from_to(4000, 5000));
  EXPECT_EQ(ahead.find({5000}), nullptr);
  ahead.prefetch(from_to(0, 2000));
  expect_found(ahead, from_to(0, read_ahead::most_blocks));
  EXPECT_EQ(ahead.find({read_ahead::most_blocks}), nullptr);
}

TEST_F(ReadAhead, DoesNothingOneRequestAtATime) {
  device.depth = 1;
  read_ahead ahead = make();
  ahead.prefetch(from_to(0, 100));
  EXPECT_EQ(ahead.find({0}), nullptr);
  EXPECT_EQ(log.requests, ranges{});
}

// Unreadable blocks, short reads, any order, several lists.
TEST_F(ReadAhead, DeliversWhatIsRightOrNothing) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  std::size_t delivered = 0;
  for (int round = 0; round < 300; ++round) {
    device = {};
    device.depth = 2 + random() % 20;
    device.partial = random() % 2;
    device.order = std::array{behaviour::in_order, behaviour::newest_first,
                              behaviour::at_random}[random() % 3];
    device.end = 1 + random() % 500;
    if (random() % 2) device.at_most = static_cast<std::int64_t>(random() % (33 * block_size));
    for (auto n = random() % 5; n > 0; --n) device.errors[random() % device.end] = EIO;
    read_ahead ahead = make();
    for (int list = 0; list < 5; ++list) {
      blocks wanted;
      for (auto n = random() % 300; n > 0; --n) wanted.push_back({random() % (device.end + 10)});
      ahead.prefetch(wanted);
      for (auto n = random() % 300; n > 0; --n) {
        const block_nr b{random() % (device.end + 10)};
        const block* found = ahead.find(b);
        if (found == nullptr) continue;
        ++delivered;
        ASSERT_TRUE(is_stamped(*found, b.value)) << b.value;
        ASSERT_EQ(device.errors.count(b.value), 0u);
      }
    }
  }
  EXPECT_GT(delivered, 0u);
}

}  // namespace
}  // namespace persistent_data
