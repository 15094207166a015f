// SPDX-License-Identifier: GPL-3.0-or-later
// Words of numbers of bits, and the masks of ranges.
#include "persistent-data/format/bits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <utility>
#include <vector>

namespace persistent_data {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(Bits, HaveTheWordsThatTheyNeed) {
  EXPECT_EQ(bitset_words(0), 0u);
  EXPECT_EQ(bitset_words(1), 1u);
  EXPECT_EQ(bitset_words(64), 1u);
  EXPECT_EQ(bitset_words(65), 2u);
  EXPECT_EQ(bitset_words(std::numeric_limits<std::uint64_t>::max()), std::uint64_t{1} << 58);
}

TEST(Bits, OfARangeAreMaskedWordByWord) {
  const auto masks = [](range bits) {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> all;
    for_each_word(bits,
                  [&](std::uint64_t word, std::uint64_t mask) { all.emplace_back(word, mask); });
    return all;
  };
  constexpr std::uint64_t all = ~std::uint64_t{0};
  EXPECT_THAT(masks({70, 70}), IsEmpty());
  EXPECT_THAT(masks({65, 67}), ElementsAre(Pair(1, 6)));
  EXPECT_THAT(masks({0, 64}), ElementsAre(Pair(0, all)));
  EXPECT_THAT(masks({63, 129}), ElementsAre(Pair(0, all - all / 2), Pair(1, all), Pair(2, 1)));
}

}  // namespace
}  // namespace persistent_data
