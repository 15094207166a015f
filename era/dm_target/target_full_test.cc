// SPDX-License-Identifier: GPL-3.0-or-later
// The metadata device is full at every point: calls throw, acknowledged writes stay listed, and the
// device goes on if a snapshot is dropped or digestion makes room.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "era/testing/tracked_device.h"

namespace era {
namespace {

using test::block_size;
using test::large;
using test::occupied_blocks;
using test::one_of;
using test::small;
using test::tracked_device;

// The blocks that are kept free are enough for a snapshot's release and for digestion, which free
// more.
void expect_to_go_on(tracked_device& d) {
  if (!d->is_resumed()) {
    // It did not get the size that was wanted.
    d->set_length(std::uint64_t{d->nr_blocks()} * block_size);
    ASSERT_TRUE(d.resume());
  }
  d.message("drop_metadata_snap");
  while (d->digest(1) > 0) d->status();
  EXPECT_TRUE(d.write(0));
  EXPECT_TRUE(d.message("checkpoint"));
  EXPECT_TRUE(d.write(0));
}

TEST(TargetFull, AtEverySize) {
  // The era array, the current writeset, the space map, and what is kept free.
  constexpr std::uint64_t enough = 24;
  int full = 0, full_but_enough = 0;
  for (std::uint64_t blocks = 1; blocks <= 60; ++blocks)
    for (unsigned seed = 1; seed <= 20; ++seed) {
      SCOPED_TRACE(fmt::format("{} metadata blocks, seed {}", blocks, seed));
      tracked_device d({blocks});
      d.work(seed);
      EXPECT_EQ(d.failed, 0u);
      if (d.full == 0) continue;
      ++full;
      if (blocks >= enough) {
        ++full_but_enough;
        expect_to_go_on(d);
      }
      d.close();
      d.expect_sound();
    }
  EXPECT_GT(full, 400);
  EXPECT_GT(full_but_enough, 100);
}

// Something takes all free blocks but a few, at each point of a workload.
TEST(TargetFull, AtEveryPoint) {
  unsigned full = 0;
  for (std::size_t point = 0; point <= 40; point += one_of)
    for (unsigned left = 0; left <= 20; ++left) {
      SCOPED_TRACE(fmt::format("{} steps, then {} blocks", point, left));
      tracked_device d(small);
      d.work(1 + left % 3, point);
      d.close();
      occupied_blocks occupied(d.store, left);
      d.work(100 + left, 40);
      EXPECT_EQ(d.failed, 0u);
      full += d.full > 0;
      d.close();
      occupied.give_back();
      d.judge();
    }
  EXPECT_GT(full, 200 / one_of);
}

// Parts of a discard fit, others do not; blocks are evicted and read again.
TEST(TargetFull, WithSeveralBitsetBlocks) {
  int full = 0;
  for (std::uint64_t blocks = 100; blocks <= 170; blocks += 5)
    for (unsigned seed = 1; seed <= 4; ++seed) {
      SCOPED_TRACE(fmt::format("{} metadata blocks, seed {}", blocks, seed));
      tracked_device d({blocks, large.origin_blocks, large.cache_blocks});
      d.work(seed);
      EXPECT_EQ(d.failed, 0u);
      full += d.full > 0;
      d.close();
      d.expect_sound();
    }
  EXPECT_GT(full, 20);
}

// Digestion that is not committed has taken all free blocks; whatever needs some gives it up.
TEST(TargetFull, AChangeIsTriedAgainWithoutDigestion) {
  constexpr std::uint32_t nr_blocks = 60 * eras_per_array_block;
  const std::vector<std::function<bool(tracked_device&)>> changes = {
      [](auto& d) { return d.write(7); }, [](auto& d) { return d.message("checkpoint"); },
      [](auto& d) { return d.message("take_metadata_snap"); },
      [](auto& d) { return d.attempt([&] { d->status(); }); },
      [](auto& d) { return d.attempt([&] { d->suspend(); }) && d.resume(); }};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    SCOPED_TRACE(fmt::format("change {}", i));
    tracked_device d({110, nr_blocks});
    ASSERT_TRUE(d.open(nr_blocks) && d.resume() && d.write(0, nr_blocks));
    ASSERT_TRUE(d.message("checkpoint"));
    std::uint64_t steps = 0;
    while (d.attempt([&] { d->digest(1); })) ++steps;
    EXPECT_GT(steps, 10u);
    EXPECT_LT(steps, 60u);
    EXPECT_EQ(d->digest(steps), steps);
    EXPECT_TRUE(changes[i](d));
    if (d->status().held) {
      EXPECT_TRUE(d.message("drop_metadata_snap"));
    }
    d.judge();
  }
}

// Digestion that fits between two commits is never done again: each round gets further.
TEST(TargetFull, DigestionContinuesFromTheLastCommit) {
  constexpr std::uint32_t nr_blocks = 60 * eras_per_array_block;
  tracked_device d({110, nr_blocks});
  ASSERT_TRUE(d.open(nr_blocks) && d.resume() && d.write(0, nr_blocks));
  ASSERT_TRUE(d.message("checkpoint"));
  std::uint64_t rounds = 0;
  for (bool is_done = false; !is_done && rounds < 100; ++rounds) {
    is_done = d.attempt([&] { d->digest(~std::uint64_t{0}); });
    ASSERT_TRUE(d.attempt([&] { d->status(); }));
    if (!is_done) {
      ASSERT_EQ(d->digest(10), 10u);
    }
    ASSERT_TRUE(d.attempt([&] { d->status(); }));
  }
  EXPECT_GT(rounds, 1u);
  EXPECT_LE(rounds, 7u);
  d.judge();
}

// Without and with digestion, and then with or without enough of what is kept free.
TEST(TargetFull, ADeviceGrowsIfThereIsRoomAfterDigestion) {
  constexpr std::uint64_t metadata_blocks = 120, eras = 20;
  constexpr std::uint32_t before = 20 * eras_per_array_block;
  std::size_t at_once = 0, after_digestion = 0, refused = 0;
  for (std::uint32_t more = 1; more < metadata_blocks; ++more) {
    SCOPED_TRACE(fmt::format("{} more blocks of the era array", more));
    tracked_device d({metadata_blocks});
    ASSERT_TRUE(d.open(before) && d.resume());
    for (std::uint64_t era = 1; era <= eras; ++era)
      ASSERT_TRUE(d.write(era * 900) && d.message("checkpoint"));
    const std::uint32_t wanted = before + more * eras_per_array_block;
    if (d.resize(wanted)) {
      EXPECT_EQ(d->nr_blocks(), wanted);
      // The next resume needs a bitset, and everything else 8.
      const target_status s = d->status();
      EXPECT_GE(s.total - s.used, 8 + wanted / bits_per_bitset_block);
      ++(s.used < 20 + more + 2 * eras ? after_digestion : at_once);
    } else {
      ++refused;
      EXPECT_EQ(d->nr_blocks(), before);
      d->set_length(std::uint64_t{before} * block_size);
      EXPECT_TRUE(d.resume());
    }
    d.judge();
  }
  EXPECT_GT(at_once, 10u);
  EXPECT_GT(after_digestion, 10u);
  EXPECT_GT(refused, 10u);
}

}  // namespace
}  // namespace era
