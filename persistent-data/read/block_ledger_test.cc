// SPDX-License-Identifier: GPL-3.0-or-later
// What the ledger answers, and what it counts, in one view and in the next.
#include "persistent-data/read/block_ledger.h"

#include <gtest/gtest.h>

#include <limits>

namespace persistent_data {
namespace {

using counting = block_ledger::counting;
using enum reach_result;

constexpr std::optional<block_nr> superblock;

TEST(BlockLedger, EachBlockIsEnteredOnce) {
  block_ledger ledger(10, counting::no);
  EXPECT_EQ(ledger.reach(superblock, {3}), first);
  EXPECT_EQ(ledger.reach(superblock, {3}), again);
  EXPECT_EQ(ledger.reach(block_nr{3}, {3}), again);
  EXPECT_EQ(ledger.reach(block_nr{3}, {9}), first);
  EXPECT_EQ(ledger.reach(block_nr{9}, {3}), again);
}

TEST(BlockLedger, OutsideIsNothingToEnter) {
  block_ledger ledger(10, counting::yes);
  for (int i = 0; i < 2; ++i)
    for (const std::uint64_t to :
         {std::uint64_t{0}, std::uint64_t{10}, std::uint64_t{11}, std::uint64_t{1} << 32,
          std::numeric_limits<std::uint64_t>::max()})
      EXPECT_EQ(ledger.reach(superblock, {to}), outside) << to;
  EXPECT_EQ(ledger.references({0}), 1u);
}

TEST(BlockLedger, ADeviceOfOneBlockHasOnlyTheSuperblock) {
  block_ledger ledger(1, counting::yes);
  EXPECT_EQ(ledger.reach(superblock, {1}), outside);
  EXPECT_EQ(ledger.references({0}), 1u);
}

// Whatever lies behind the space map's reach is not metadata; no memory is taken for it.
TEST(BlockLedger, IsNoLargerThanMetadataCanBe) {
  block_ledger ledger(std::numeric_limits<std::uint64_t>::max(), counting::no);
  EXPECT_EQ(ledger.nr_blocks(), max_metadata_blocks);
  EXPECT_EQ(ledger.reach(superblock, {max_metadata_blocks - 1}), first);
  EXPECT_EQ(ledger.reach(superblock, {max_metadata_blocks}), outside);
}

TEST(BlockLedger, EveryPointerIsAReference) {
  block_ledger ledger(10, counting::yes);
  EXPECT_EQ(ledger.references({0}), 1u);
  EXPECT_EQ(ledger.references({4}), 0u);
  ledger.reach(superblock, {4});
  EXPECT_EQ(ledger.references({4}), 1u);
  ledger.reach(block_nr{4}, {5});
  ledger.reach(block_nr{4}, {5});
  ledger.reach(block_nr{5}, {5});
  EXPECT_EQ(ledger.references({5}), 3u);
  EXPECT_EQ(ledger.references({9}), 0u);
}

// Live: superblock -> 1 -> 2, superblock -> 3. The snapshot's superblock points to 1, which it
// shares whole, and to 4, which points to 2 and 5.
TEST(BlockLedger, TheSnapshotCountsWhatItSharesOnce) {
  block_ledger ledger(10, counting::yes);
  ledger.reach(superblock, {1});
  ledger.reach(block_nr{1}, {2});
  ledger.reach(superblock, {3});

  ledger.next_view();
  EXPECT_EQ(ledger.reach(superblock, {1}), first);
  EXPECT_EQ(ledger.reach(block_nr{1}, {2}), first);
  EXPECT_EQ(ledger.reach(superblock, {4}), first);
  EXPECT_EQ(ledger.reach(block_nr{4}, {2}), again);
  EXPECT_EQ(ledger.reach(block_nr{4}, {5}), first);

  EXPECT_EQ(ledger.references({1}), 2u);
  EXPECT_EQ(ledger.references({2}), 2u);  // from 1, once, and from 4
  EXPECT_EQ(ledger.references({3}), 1u);
  EXPECT_EQ(ledger.references({4}), 1u);
  EXPECT_EQ(ledger.references({5}), 1u);
}

TEST(BlockLedger, EveryEarlierViewIsRemembered) {
  block_ledger ledger(10, counting::yes);
  ledger.reach(superblock, {1});
  ledger.next_view();
  ledger.reach(superblock, {2});
  ledger.next_view();
  for (const std::uint64_t from : {1u, 2u}) ledger.reach(block_nr{from}, {5});
  EXPECT_EQ(ledger.references({5}), 0u);
  ledger.reach(block_nr{3}, {5});
  EXPECT_EQ(ledger.references({5}), 1u);
}

TEST(BlockLedger, ForgetsWhatWasReached) {
  block_ledger ledger(10, counting::no_but_forgets);
  ledger.doubt({4});
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(ledger.reach(superblock, {3}), first);
    EXPECT_EQ(ledger.reach(superblock, {3}), again);
    EXPECT_EQ(ledger.reach(superblock, {4}), reach_result::doubtful);
    EXPECT_TRUE(ledger.is_cross_linked({3}));
    ledger.forget();
    EXPECT_FALSE(ledger.is_cross_linked({3}));
    EXPECT_FALSE(ledger.in_first_view({3}));
  }
}

}  // namespace
}  // namespace persistent_data
