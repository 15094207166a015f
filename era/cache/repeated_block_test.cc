// SPDX-License-Identifier: GPL-3.0-or-later
// The first repetition is found, in memory and in the temp_file alike.
#include "era/cache/repeated_block.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

namespace era {
namespace {

std::string told(const std::optional<repeated_block::repetition>& r) {
  if (!r) return "none";
  return std::to_string(r->block) + " in " + std::to_string(r->first_line) + " and " +
         std::to_string(r->line);
}

// Blocks on the lines 1, 2, ...
std::string find(const std::vector<std::uint64_t>& blocks,
                 std::size_t memory = repeated_block::default_memory) {
  repeated_block seen(memory);
  for (std::size_t i = 0; i < blocks.size(); ++i) seen.add(blocks[i], i + 1);
  return told(seen.find());
}

std::string expected(const std::vector<std::uint64_t>& blocks) {
  std::map<std::uint64_t, std::uint64_t> lines;
  for (std::size_t i = 0; i < blocks.size(); ++i)
    if (const auto [at, is_new] = lines.emplace(blocks[i], i + 1); !is_new)
      return told(repeated_block::repetition{blocks[i], at->second, i + 1});
  return "none";
}

TEST(RepeatedBlock, IsTheFirstThatComesAgain) {
  EXPECT_EQ(find({}), "none");
  EXPECT_EQ(find({7}), "none");
  EXPECT_EQ(find({7, 3, 0, 18446744073709551615u}), "none");
  EXPECT_EQ(find({7, 3, 7}), "7 in 1 and 3");
  EXPECT_EQ(find({7, 7, 7}), "7 in 1 and 2");
  EXPECT_EQ(find({1, 9, 9, 1}), "9 in 2 and 3");
  EXPECT_EQ(find({0, 0}), "0 in 1 and 2");
}

TEST(RepeatedBlock, OfOneLineIsFound) {
  repeated_block seen;
  seen.add(5, 1);
  seen.add(5, 1);
  EXPECT_EQ(told(seen.find()), "5 in 1 and 1");
}

TEST(RepeatedBlock, IsFoundInTheFile) {
  EXPECT_EQ(find({1, 2, 3, 4, 5, 1, 6}, 0), "1 in 1 and 6");
  EXPECT_EQ(find({1, 2, 3, 4, 5, 6, 7}, 0), "none");
  EXPECT_EQ(find({5, 4, 3, 2, 2, 1}, 32), "2 in 4 and 5");
}

TEST(RepeatedBlock, IsFoundInWhateverOrder) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    const std::uint64_t range = 1 + random() % 200000;
    std::vector<std::uint64_t> blocks(random() % 1500);
    for (auto& block : blocks) block = random() % range;
    for (const std::size_t memory : {std::size_t{64}, std::size_t{1000}, std::size_t{1} << 20})
      EXPECT_EQ(find(blocks, memory), expected(blocks)) << memory;
  }
}

}  // namespace
}  // namespace era
