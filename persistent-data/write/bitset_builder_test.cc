// SPDX-License-Identifier: GPL-3.0-or-later
// Runs of bits against bits set one by one.
#include "persistent-data/write/bitset_builder.h"

#include <gtest/gtest.h>

#include "persistent-data/testing/building_site.h"

namespace persistent_data {
namespace {

using test::building_site;

std::vector<std::uint64_t> bitset_words(const std::vector<range>& set, std::uint64_t nr_bits) {
  building_site s(200);
  bitset_builder builder(s.writer);
  for (const range& bits : set) builder.set(bits);
  const block_nr root = builder.finish(nr_bits);
  return s.array<le64>(root, (nr_bits + 63) / 64);
}

TEST(BitsetBuilder, SetsTheBitsThatItIsTold) {
  constexpr std::uint64_t all = ~std::uint64_t{0};
  using words = std::vector<std::uint64_t>;
  EXPECT_EQ(bitset_words({}, 0), words());
  EXPECT_EQ(bitset_words({}, 1), words{0});
  EXPECT_EQ(bitset_words({{0, 1}}, 1), words{1});
  EXPECT_EQ(bitset_words({{0, 1}, {2, 3}, {63, 64}}, 64), words{5 + (1ull << 63)});
  EXPECT_EQ(bitset_words({{0, 64}}, 65), (words{all, 0}));
  EXPECT_EQ(bitset_words({{63, 65}}, 65), (words{1ull << 63, 1}));
  EXPECT_EQ(bitset_words({{64, 128}}, 200), (words{0, all, 0, 0}));
  EXPECT_EQ(bitset_words({{1, 199}}, 200), (words{all - 1, all, all, 127}));
  EXPECT_EQ(bitset_words({{10, 10}, {150, 151}}, 192), (words{0, 0, 1 << 22}));
}

TEST(BitsetBuilder, AgreesWithBitsOneByOne) {
  // Runs and gaps that cross words and blocks of 509 words in all ways.
  std::vector<range> set;
  std::uint64_t at = 0, step = 1;
  while (at < 3 * 32576) {
    set.push_back({at, at + step % 131});
    at += step % 131 + step % 977;
    step = step * 5 + 3;
  }
  const std::uint64_t nr_bits = set.back().end + 1;
  const auto words = bitset_words(set, nr_bits);
  std::vector<std::uint64_t> wanted((nr_bits + 63) / 64);
  for (const range& bits : set)
    for (std::uint64_t i = bits.begin; i < bits.end; ++i) wanted[i / 64] |= 1ull << i % 64;
  EXPECT_EQ(words, wanted);
}

}  // namespace
}  // namespace persistent_data
