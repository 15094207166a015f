// SPDX-License-Identifier: GPL-3.0-or-later
// Which blocks damage puts in doubt, for which question.
#include "era/invalidate/doubts.h"

#include <gtest/gtest.h>

#include <limits>

namespace era {
namespace {

constexpr std::uint32_t nr_blocks = 1000;
constexpr era_window from_three{3, std::uint64_t{1} << 32};

finding hiding(place where, pd::range hidden) {
  return {where, {9, 10}, {pd::fault::bad_checksum, "wrong"}, hidden};
}

TEST(Doubts, OfTheEraArrayCountInEveryWindow) {
  const finding f = hiding({part::era_array}, {100, 2000});
  EXPECT_EQ(doubted_blocks(f, from_three, nr_blocks), (pd::range{100, 1000}));
  EXPECT_EQ(doubted_blocks(f, {1, 2}, nr_blocks), (pd::range{100, 1000}));
}

TEST(Doubts, OfAWritesetCountInItsEra) {
  for (const part what : {part::writeset, part::current_writeset}) {
    EXPECT_EQ(doubted_blocks(hiding({what, {3}}, {64, 128}), from_three, nr_blocks),
              (pd::range{64, 128}));
    EXPECT_TRUE(doubted_blocks(hiding({what, {2}}, {64, 128}), from_three, nr_blocks).empty());
    EXPECT_TRUE(doubted_blocks(hiding({what, {4}}, {64, 128}), {3, 4}, nr_blocks).empty());
  }
}

TEST(Doubts, OfTheWritesetTreeAreAllBlocks) {
  constexpr std::uint64_t no_end = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(doubted_blocks(hiding({part::writeset_tree}, {0, no_end}), from_three, nr_blocks),
            (pd::range{0, nr_blocks}));
  EXPECT_EQ(doubted_blocks(hiding({part::writeset_tree}, {3, 4}), from_three, nr_blocks),
            (pd::range{0, nr_blocks}));
  EXPECT_TRUE(doubted_blocks(hiding({part::writeset_tree}, {1, 3}), from_three, nr_blocks).empty());
}

TEST(Doubts, OfTheSpaceMapAreNone) {
  EXPECT_TRUE(doubted_blocks(hiding({part::space_map}, {0, 10}), from_three, nr_blocks).empty());
}

TEST(Doubts, OfContradictionsAreAllBlocks) {
  for (const auto what : {pd::fault::bad_shape, pd::fault::cross_linked, pd::fault::bad_value}) {
    finding f = hiding({part::writeset, {2}}, {});
    f.what.what = what;
    EXPECT_EQ(doubted_blocks(f, from_three, nr_blocks), (pd::range{0, nr_blocks}));
    f.where = {part::space_map};
    EXPECT_TRUE(doubted_blocks(f, from_three, nr_blocks).empty());
  }
  finding counted = hiding({part::reference_counts}, {});
  counted.what.what = pd::fault::count_too_low;
  EXPECT_EQ(doubted_blocks(counted, from_three, nr_blocks), (pd::range{0, nr_blocks}));
  counted.what.what = pd::fault::count_too_high;
  EXPECT_TRUE(doubted_blocks(counted, from_three, nr_blocks).empty());
}

TEST(Doubts, MayBeOfTheSize) {
  finding f = hiding({part::era_array}, {0, 10});
  EXPECT_FALSE(is_size_doubtful(f));
  f.what.what = pd::fault::bad_shape;
  EXPECT_TRUE(is_size_doubtful(f));
  f.where = {part::writeset, {2}};
  EXPECT_FALSE(is_size_doubtful(f));
  EXPECT_TRUE(is_size_doubtful(hiding({part::superblock}, {0, 10})));
}

TEST(Doubts, AreMergedAndAskedByRange) {
  doubts d;
  d.add({50, 60});
  d.add({10, 20});
  d.add({15, 30});
  d.add({30, 31});
  d.add({});
  d.settle();
  std::vector<pd::range> found;
  const auto take = [&](pd::range r) { found.push_back(r); };
  d.within({0, 100}, take);
  EXPECT_EQ(found, (std::vector<pd::range>{{10, 31}, {50, 60}}));
  found.clear();
  d.within({31, 50}, take);
  EXPECT_TRUE(found.empty());
  d.within({30, 51}, take);
  EXPECT_EQ(found, (std::vector<pd::range>{{30, 31}, {50, 51}}));
}

}  // namespace
}  // namespace era
