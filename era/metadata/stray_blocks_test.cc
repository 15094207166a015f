// SPDX-License-Identifier: GPL-3.0-or-later
// A sorted list in which nothing is twice.
#include "era/metadata/stray_blocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace era {
namespace {

using entry = stray_blocks::entry;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

stray_blocks some() {
  stray_blocks blocks;
  for (const auto& [index, where] : {std::pair{7u, 70u}, {2u, 21u}, {2u, 20u}, {7u, 70u}})
    EXPECT_TRUE(blocks.add(index, {where}));
  blocks.resolve();
  return blocks;
}

TEST(StrayBlocks, AreSortedAndEachOnce) {
  EXPECT_THAT(some().all(), ElementsAre(entry{2, 20}, entry{2, 21}, entry{7, 70}));
  EXPECT_EQ(some().end(), 8u);
  EXPECT_EQ(stray_blocks().end(), 0u);
}

TEST(StrayBlocks, AreFoundByTheirPlaces) {
  const stray_blocks blocks = some();
  EXPECT_THAT(blocks.of({2, 3}), ElementsAre(entry{2, 20}, entry{2, 21}));
  EXPECT_THAT(blocks.of({3, 7}), IsEmpty());
  EXPECT_TRUE(blocks.contains(7, {70}));
  EXPECT_FALSE(blocks.contains(7, {71}));
  EXPECT_FALSE(blocks.contains(~std::uint64_t{0}, {70}));
}

TEST(StrayBlocks, ForgetBlocks) {
  stray_blocks blocks = some();
  blocks.erase_blocks([](pd::block_nr b) { return b.value == 20; });
  EXPECT_THAT(blocks.all(), ElementsAre(entry{2, 21}, entry{7, 70}));
}

TEST(StrayBlocks, APlaceThatNoArrayHasIsNone) {
  stray_blocks blocks;
  EXPECT_FALSE(blocks.add(max_origin_blocks, {5}));
  EXPECT_TRUE(blocks.empty());
}

// Versions of one leaf name the same blocks, any number of times.
TEST(StrayBlocks, TheSameManyTimesTakesNoMemory) {
  stray_blocks blocks;
  for (int i = 0; i < 20'000'000; ++i) ASSERT_TRUE(blocks.add(3, {9}));
  blocks.resolve();
  EXPECT_THAT(blocks.all(), ElementsAre(entry{3, 9}));
}

}  // namespace
}  // namespace era
