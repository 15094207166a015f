// SPDX-License-Identifier: GPL-3.0-or-later
// The counter's answers and its counts, in one view and in the next.
#include "persistent-data/read/reference_counter.h"

#include <gtest/gtest.h>

#include <limits>

namespace persistent_data {
namespace {

using counting = reference_counter::counting;
using enum reach_result;

constexpr std::optional<block_nr> superblock;

TEST(ReferenceCounter, EachBlockIsEnteredOnce) {
  reference_counter counter(10, counting::no);
  EXPECT_EQ(counter.reach(superblock, {3}), first);
  EXPECT_EQ(counter.reach(superblock, {3}), again);
  EXPECT_EQ(counter.reach(block_nr{3}, {3}), again);
  EXPECT_EQ(counter.reach(block_nr{3}, {9}), first);
  EXPECT_EQ(counter.reach(block_nr{9}, {3}), again);
}

TEST(ReferenceCounter, OutsideIsNothingToEnter) {
  reference_counter counter(10, counting::yes);
  for (int i = 0; i < 2; ++i)
    for (const std::uint64_t to :
         {std::uint64_t{0}, std::uint64_t{10}, std::uint64_t{11}, std::uint64_t{1} << 32,
          std::numeric_limits<std::uint64_t>::max()})
      EXPECT_EQ(counter.reach(superblock, {to}), outside) << to;
  EXPECT_EQ(counter.references({0}), 1u);
}

TEST(ReferenceCounter, ADeviceOfOneBlockHasOnlyTheSuperblock) {
  reference_counter counter(1, counting::yes);
  EXPECT_EQ(counter.reach(superblock, {1}), outside);
  EXPECT_EQ(counter.references({0}), 1u);
}

// Blocks past the space map's reach are not metadata; no memory is taken for them.
TEST(ReferenceCounter, IsNoLargerThanMetadataCanBe) {
  reference_counter counter(std::numeric_limits<std::uint64_t>::max(), counting::no);
  EXPECT_EQ(counter.nr_blocks(), max_metadata_blocks);
  EXPECT_EQ(counter.reach(superblock, {max_metadata_blocks - 1}), first);
  EXPECT_EQ(counter.reach(superblock, {max_metadata_blocks}), outside);
}

TEST(ReferenceCounter, EveryPointerIsAReference) {
  reference_counter counter(10, counting::yes);
  EXPECT_EQ(counter.references({0}), 1u);
  EXPECT_EQ(counter.references({4}), 0u);
  counter.reach(superblock, {4});
  EXPECT_EQ(counter.references({4}), 1u);
  counter.reach(block_nr{4}, {5});
  counter.reach(block_nr{4}, {5});
  counter.reach(block_nr{5}, {5});
  EXPECT_EQ(counter.references({5}), 3u);
  EXPECT_EQ(counter.references({9}), 0u);
}

// Live: superblock -> 1 -> 2, superblock -> 3. The snapshot's superblock points to 1, which it
// shares whole, and to 4, which points to 2 and 5.
TEST(ReferenceCounter, TheSnapshotCountsWhatItSharesOnce) {
  reference_counter counter(10, counting::yes);
  counter.reach(superblock, {1});
  counter.reach(block_nr{1}, {2});
  counter.reach(superblock, {3});

  counter.next_view();
  EXPECT_EQ(counter.reach(superblock, {1}), first);
  EXPECT_EQ(counter.reach(block_nr{1}, {2}), first);
  EXPECT_EQ(counter.reach(superblock, {4}), first);
  EXPECT_EQ(counter.reach(block_nr{4}, {2}), again);
  EXPECT_EQ(counter.reach(block_nr{4}, {5}), first);

  EXPECT_EQ(counter.references({1}), 2u);
  EXPECT_EQ(counter.references({2}), 2u);  // from 1, once, and from 4
  EXPECT_EQ(counter.references({3}), 1u);
  EXPECT_EQ(counter.references({4}), 1u);
  EXPECT_EQ(counter.references({5}), 1u);
}

TEST(ReferenceCounter, EveryEarlierViewIsRemembered) {
  reference_counter counter(10, counting::yes);
  counter.reach(superblock, {1});
  counter.next_view();
  counter.reach(superblock, {2});
  counter.next_view();
  for (const std::uint64_t from : {1u, 2u}) counter.reach(block_nr{from}, {5});
  EXPECT_EQ(counter.references({5}), 0u);
  counter.reach(block_nr{3}, {5});
  EXPECT_EQ(counter.references({5}), 1u);
}

TEST(ReferenceCounter, ForgetsWhatWasReached) {
  reference_counter counter(10, counting::no_but_forgets);
  counter.exclude({4});
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(counter.reach(superblock, {3}), first);
    EXPECT_EQ(counter.reach(superblock, {3}), again);
    EXPECT_EQ(counter.reach(superblock, {4}), reach_result::excluded);
    EXPECT_TRUE(counter.is_cross_linked({3}));
    counter.forget();
    EXPECT_FALSE(counter.is_cross_linked({3}));
    EXPECT_FALSE(counter.in_first_view({3}));
  }
}

}  // namespace
}  // namespace persistent_data
