// SPDX-License-Identifier: GPL-3.0-or-later
// The union of changed blocks and others, against a bitmap.
#include "era/backup/blocks_to_copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "era/metadata/stripe.h"

namespace era {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

block_set set_of(const std::vector<bool>& chosen) {
  block_set result(chosen.size());
  for (std::size_t first = 0; first < chosen.size(); first += blocks_per_stripe) {
    const std::size_t size = std::min<std::size_t>(blocks_per_stripe, chosen.size() - first);
    std::vector<std::uint64_t> words((size + 63) / 64);
    for (std::size_t i = 0; i < size; ++i)
      if (chosen[first + i]) words[i / 64] |= std::uint64_t{1} << i % 64;
    result.add(stripe_set(words, size));
  }
  return result;
}

std::vector<origin_range> all_of(blocks_to_copy& blocks) {
  std::vector<origin_range> runs;
  while (const auto run = blocks.next()) runs.push_back(*run);
  return runs;
}

TEST(BlocksToCopy, JoinsWhatTouches) {
  std::vector<bool> chosen(20);
  chosen[3] = chosen[4] = chosen[10] = true;
  const block_set changed = set_of(chosen);
  blocks_to_copy blocks(changed, {{11, 13}, {5, 6}, {2, 3}, {18, 20}, {12, 14}});
  EXPECT_THAT(all_of(blocks),
              ElementsAre(origin_range{2, 6}, origin_range{10, 14}, origin_range{18, 20}));
}

TEST(BlocksToCopy, HasNothingOfEmptyLists) {
  const block_set changed = set_of(std::vector<bool>(20));
  blocks_to_copy blocks(changed, {{4, 4}});
  EXPECT_THAT(all_of(blocks), IsEmpty());
  const block_set none(0);
  blocks_to_copy also(none, {{0, 1}});
  EXPECT_THAT(all_of(also), SizeIs(1));
}

TEST(BlocksToCopy, IsTheUnion) {
  const auto seed = std::random_device()();
  std::mt19937 random(seed);
  for (int round = 0; round < 50; ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << seed << ", round " << round);
    const std::size_t size = 1 + random() % (3 * blocks_per_stripe);
    std::vector<bool> chosen(size);
    const auto set_runs = [&](std::size_t runs, auto take) {
      for (std::size_t i = 0; i < runs; ++i) {
        const std::size_t begin = random() % size;
        take(begin, std::min<std::size_t>(size, begin + random() % (round % 2 == 0 ? 9 : 40000)));
      }
    };
    set_runs(random() % 30, [&](std::size_t begin, std::size_t end) {
      std::fill(chosen.begin() + static_cast<std::ptrdiff_t>(begin),
                chosen.begin() + static_cast<std::ptrdiff_t>(end), true);
    });
    const block_set changed = set_of(chosen);
    std::vector<origin_range> also;
    set_runs(random() % 30, [&](std::size_t begin, std::size_t end) {
      also.push_back({begin, end});
      std::fill(chosen.begin() + static_cast<std::ptrdiff_t>(begin),
                chosen.begin() + static_cast<std::ptrdiff_t>(end), true);
    });
    std::vector<origin_range> wanted;
    for (std::size_t i = 0; i < size; ++i) {
      if (!chosen[i]) continue;
      if (wanted.empty() || wanted.back().end != i) wanted.push_back({i, i});
      wanted.back().end = i + 1;
    }
    blocks_to_copy blocks(changed, also);
    ASSERT_EQ(all_of(blocks), wanted);
    blocks.rewind();
    ASSERT_EQ(all_of(blocks), wanted);
  }
}

}  // namespace
}  // namespace era
