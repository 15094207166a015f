// SPDX-License-Identifier: GPL-3.0-or-later
// A set comes out as it went in: from edges, bitmaps and the temp_file, over the borders of
// stripes.
#include "era/metadata/block_set.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>

#include "era/metadata/stripe.h"
#include "era/testing/plain_loops.h"
#include "era/text/list_writer.h"

namespace era {
namespace {

using choice = std::function<bool(std::uint64_t)>;

block_set choose(std::uint64_t nr_blocks, const choice& is_chosen, std::size_t memory) {
  block_set chosen(nr_blocks, memory);
  for (std::uint64_t first = 0; first < nr_blocks; first += blocks_per_stripe) {
    const std::uint64_t size = std::min(blocks_per_stripe, nr_blocks - first);
    std::vector<std::uint64_t> words(bitset_words(size));
    for (std::uint64_t i = 0; i < size; ++i)
      if (is_chosen(first + i)) words[i / bits_per_word] |= std::uint64_t{1} << i % bits_per_word;
    chosen.add(stripe_set(words, size));
  }
  return chosen;
}

std::string printed(const block_set& chosen, unsigned nr_workers = 2) {
  std::string result;
  const run_formatter print = [](text_buffer& text, std::span<const origin_range> runs) {
    list_writer(list_format::text, 1).lines(text, runs);
  };
  print_runs(chosen, nr_workers, print, [&](std::string_view text) { result += text; });
  return result;
}

std::string expected(std::uint64_t nr_blocks, const choice& is_chosen) {
  std::string text;
  for (std::uint64_t i = 0; i < nr_blocks; ++i) {
    if (!is_chosen(i)) continue;
    const std::uint64_t begin = i;
    while (i < nr_blocks && is_chosen(i)) ++i;
    text += std::to_string(begin) + ' ' + std::to_string(i) + '\n';
  }
  return text;
}

constexpr std::size_t little = 5000;  // a bitmap, and not two

void comes_out(std::uint64_t nr_blocks, const choice& is_chosen) {
  const std::string right = expected(nr_blocks, is_chosen);
  for (const std::size_t memory : {block_set::default_memory, little, std::size_t{0}})
    EXPECT_TRUE(printed(choose(nr_blocks, is_chosen, memory)) == right)
        << nr_blocks << " blocks, of which " << memory << " bytes are in memory";
}

class ChosenBlocksOfSize : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(ChosenBlocksOfSize, ComeOutAsTheyWentIn) {
  test::with_either_loop([&] {
    const std::uint64_t n = GetParam();
    comes_out(n, [](std::uint64_t) { return false; });
    comes_out(n, [](std::uint64_t) { return true; });
    comes_out(n, [](std::uint64_t i) { return i % 2 == 0; });
    comes_out(n, [](std::uint64_t i) { return i % 2 == 1; });
    comes_out(n, [&](std::uint64_t i) { return i == 0 || i == n - 1; });
    comes_out(n, [](std::uint64_t i) { return i / 32576 % 2 == 0; });
    comes_out(n, [](std::uint64_t i) { return i > 10 && i != 32576; });
    comes_out(n, [](std::uint64_t i) { return i % 32576 > 32000 || i % 32576 < 100; });
    comes_out(n, [](std::uint64_t i) { return i % 32576 > 20000 || i % 3 == 1; });
  });
}

INSTANTIATE_TEST_SUITE_P(AroundBorders, ChosenBlocksOfSize,
                         ::testing::Values(0, 1, 63, 64, 65, 32575, 32576, 32577, 65152, 100001));

TEST(BlockSet, ComeOutWhateverTheyAre) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 20; ++round) {
    const std::uint64_t n = 1 + random() % 150000;
    std::vector<bool> bits(n);
    // Stretches of a length that differs from round to round.
    const std::uint32_t length = 1u << random() % 18;
    bool chosen = false;
    for (std::uint64_t i = 0; i < n; ++i) bits[i] = chosen = random() % length ? chosen : !chosen;
    comes_out(n, [&](std::uint64_t i) { return bits[i]; });
  }
}

// In the middle between edges and a bitmap: both take the same room.
TEST(BlockSet, ComeOutWhereEdgesTakeAsMuchAsABitmap) {
  for (const std::uint64_t runs : {1017u, 1018u, 1019u})
    comes_out(40000, [&](std::uint64_t i) { return i % 2 == 0 && i < 2 * runs; });
}

TEST(BlockSet, AreTheSameForAnyNumberOfThreads) {
  const choice some = [](std::uint64_t i) { return i * i % 7 == 2; };
  const block_set chosen = choose(1000000, some, little);
  EXPECT_GT(chosen.print_ranges().size(), 10u);
  const std::string right = expected(1000000, some);
  for (const unsigned nr_workers : {1u, 2u, 30u}) EXPECT_TRUE(printed(chosen, nr_workers) == right);
}

TEST(BlockSet, ThatAreFewAreOneRangeToPrint) {
  const block_set chosen = choose(
      1000000, [](std::uint64_t i) { return i < 5; }, little);
  EXPECT_EQ(chosen.print_ranges(), (std::vector<pd::range>{{0, 31}}));
}

TEST(BlockSet, TakeNoMoreMemoryThanTheyMay) {
  const choice dense = [](std::uint64_t i) { return i % 2 == 0; };
  EXPECT_GT(choose(300000, dense, block_set::default_memory).memory(), 30000u);
  EXPECT_LE(choose(300000, dense, little).memory(), little);
  EXPECT_EQ(choose(300000, dense, 0).memory(), 0u);
}

TEST(BlockSet, OverlapRangesThatHaveOneOfThem) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 40; ++round) {
    const std::uint64_t n = 1 + random() % 100000;
    const std::uint32_t rarely = 1u << random() % 16;
    std::vector<bool> bits(n);
    for (std::uint64_t i = 0; i < n; ++i) bits[i] = random() % rarely == 0;
    const std::size_t memory = round % 2 == 0 ? 0 : block_set::default_memory;
    const block_set chosen = choose(
        n, [&](std::uint64_t i) { return bits[i]; }, memory);
    for (int question = 0; question < 200; ++question) {
      const std::uint64_t begin = random() % (n + 10);
      const std::uint64_t end = begin + random() % (2u << random() % 17);
      bool any = false;
      for (std::uint64_t i = begin; i < std::min(end, n) && !any; ++i) any = bits[i];
      ASSERT_EQ(chosen.overlaps({begin, end}), any) << begin << ' ' << end << " of " << n;
    }
  }
}

TEST(BlockSet, OverlapNothingPastTheirStripes) {
  block_set chosen(100000);
  EXPECT_FALSE(chosen.overlaps({0, 100000}));
  const std::vector<std::uint64_t> words(bitset_words(blocks_per_stripe), ~std::uint64_t{0});
  chosen.add(stripe_set(words, blocks_per_stripe));
  EXPECT_TRUE(chosen.overlaps({blocks_per_stripe - 1, 100000}));
  EXPECT_FALSE(chosen.overlaps({blocks_per_stripe, 100000}));
  EXPECT_FALSE(chosen.overlaps({5, 5}));
}

TEST(BlockSet, NameTheDirectoryThatIsFull) {
  const char* const before = std::getenv("TMPDIR");
  const std::string kept = before ? before : "";
  ::setenv("TMPDIR", "/no/such/directory", 1);
  try {
    choose(
        40000, [](std::uint64_t i) { return i % 2 == 0; }, 0);
    ADD_FAILURE();
  } catch (const pd::device_error& e) {
    EXPECT_NE(std::string(e.what()).find("/no/such/directory"), std::string::npos);
  }
  before ? ::setenv("TMPDIR", kept.c_str(), 1) : ::unsetenv("TMPDIR");
}

}  // namespace
}  // namespace era
