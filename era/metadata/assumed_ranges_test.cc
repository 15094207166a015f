// SPDX-License-Identifier: GPL-3.0-or-later
// Ranges against a look at each range for each block, and that millions of them cost little.
#include "era/metadata/assumed_ranges.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "era/format/writeset.h"

namespace era {
namespace {

constexpr std::uint32_t stripe = bits_per_bitset_block;

// The newest era for each block, by looking at each range for each block.
std::vector<std::uint32_t> by_hand(const std::deque<assumed_ranges::entry>& ranges,
                                   std::uint32_t nr_blocks) {
  std::vector<std::uint32_t> eras(nr_blocks);
  for (const auto& r : ranges)
    for (std::uint32_t i = r.begin; i < r.end; ++i) eras[i] = std::max(eras[i], r.era);
  return eras;
}

// Raises the eras of a stripe's blocks to those of its parts.
void raise(const assumed_ranges& ranges, std::uint32_t of_stripe, std::span<std::uint32_t> eras) {
  std::vector<assumed_ranges::stripe_part> parts;
  ranges.parts_of(of_stripe, parts);
  for (const auto& part : parts)
    for (std::uint32_t i = part.begin; i < std::min<std::size_t>(part.end, eras.size()); ++i)
      eras[i] = std::max(eras[i], part.era.value);
}

std::vector<std::uint32_t> raised(const assumed_ranges& ranges, std::uint32_t nr_blocks) {
  std::vector<std::uint32_t> eras(nr_blocks);
  for (std::uint32_t s = 0; s * stripe < nr_blocks; ++s)
    raise(ranges, s, std::span(eras).subspan(s * stripe, std::min(stripe, nr_blocks - s * stripe)));
  return eras;
}

TEST(AssumedRanges, NoneRaisesNothing) {
  assumed_ranges ranges;
  ranges.add(5, {3, 3}, 100);
  ranges.add(5, {100, 200}, 100);
  ranges.resolve();
  EXPECT_TRUE(ranges.all().empty());
  EXPECT_EQ(raised(ranges, 100), std::vector<std::uint32_t>(100));
}

TEST(AssumedRanges, AreCutAtTheOriginsEnd) {
  assumed_ranges ranges;
  ranges.add(5, {90, std::uint64_t{1} << 32}, 100);
  ranges.resolve();
  ASSERT_EQ(ranges.all().size(), 1u);
  EXPECT_EQ(ranges.all()[0].end, 100u);
  EXPECT_EQ(ranges.of_era(5).size(), 1u);
  EXPECT_TRUE(ranges.of_era(4).empty());
}

TEST(AssumedRanges, TheNewestEraOfEachBlockCounts) {
  std::mt19937 random(1);
  constexpr std::uint32_t nr_blocks = 5 * stripe + 1000;
  for (int round = 0; round < 200; ++round) {
    assumed_ranges ranges;
    for (std::uint32_t i = 0, n = static_cast<std::uint32_t>(random() % 12); i < n; ++i) {
      // Ends at stripes are the usual ones, and near them the hard ones.
      const auto draw = [&] {
        const auto near = static_cast<std::uint32_t>(random() % 3);
        const auto at = static_cast<std::uint32_t>(random() % 7) * stripe;
        return std::min(random() % 3 == 0 ? static_cast<std::uint32_t>(random() % nr_blocks)
                                          : at + near - std::min(at, 1u),
                        nr_blocks);
      };
      const std::uint32_t a = draw(), b = draw();
      ranges.add(1 + static_cast<std::uint32_t>(random() % 9), {std::min(a, b), std::max(a, b)},
                 nr_blocks);
    }
    ranges.resolve();
    ASSERT_EQ(raised(ranges, nr_blocks), by_hand(ranges.all(), nr_blocks)) << "round " << round;
  }
}

// Each of a million ranges covers all stripes except the last, and a part of the last.
TEST(AssumedRanges, ManyRangesTakeNoLongerThanTheirBlocks) {
  assumed_ranges ranges;
  constexpr std::uint32_t many = 1'000'000, nr_blocks = 100 * stripe + 20'000;
  for (std::uint32_t era = 1; era <= many; ++era)
    ranges.add(era, {0, 100 * stripe + era % 20'000}, nr_blocks);
  ranges.resolve();
  std::vector<std::uint32_t> eras(stripe);
  for (int i = 0; i < 100; ++i) raise(ranges, 50, eras);
  EXPECT_EQ(eras.front(), many);
  std::vector<std::uint32_t> last(20'000);
  raise(ranges, 100, last);
  // The newest of all has no part of this stripe, and 999,999 has all up to block 19,998.
  EXPECT_EQ(last[0], many - 1);
  EXPECT_EQ(last[19'998], many - 1);
  EXPECT_EQ(last[19'999], 0u);
}

}  // namespace
}  // namespace era
