// SPDX-License-Identifier: GPL-3.0-or-later
// Evidence of all three shapes, at every place in a word.
#include "era/metadata/write_evidence.h"

#include <gtest/gtest.h>

#include <vector>

namespace era {
namespace {

write_evidence of_size(std::uint32_t first, std::uint32_t size, era_nr era) {
  write_evidence e;
  e.first = first;
  e.size = size;
  e.era = era;
  return e;
}

TEST(WriteEvidence, RaisesTheErasThatItIsAbout) {
  std::vector<std::uint32_t> eras{5, 1, 1, 1};
  const std::vector<pd::le32> two{pd::le32(3), pd::le32(0)};
  write_evidence e;
  e.first = 1;
  e.eras = two;
  raise(std::span(eras), e);
  EXPECT_EQ(eras, (std::vector<std::uint32_t>{5, 3, 1, 1}));

  const std::vector<pd::le64> words{pd::le64(0b1001)};
  e = {};
  e.words = words;
  e.era = {4};
  raise(std::span(eras), e);
  EXPECT_EQ(eras, (std::vector<std::uint32_t>{5, 3, 1, 4}));

  raise(std::span(eras), of_size(2, 1, {9}));
  EXPECT_EQ(eras, (std::vector<std::uint32_t>{5, 3, 9, 4}));
}

TEST(WriteEvidence, ListsBlocksOneByOne) {
  for (std::uint32_t first = 0; first < 130; ++first)
    for (const std::uint32_t size : {0u, 1u, 2u, 63u, 64u, 65u, 128u}) {
      std::vector<std::uint64_t> words(5), expected(5);
      for (std::uint32_t i = first; i < first + size; ++i)
        expected[i / 64] |= std::uint64_t{1} << i % 64;
      set_listed(std::span(words), of_size(first, size, {1}));
      ASSERT_EQ(words, expected) << first << ' ' << size;
    }
}

TEST(WriteEvidence, AddsToWhatIsListed) {
  std::vector<pd::le64> words{pd::le64(1), pd::le64(2)};
  const std::vector<pd::le64> more{pd::le64(4)};
  write_evidence e;
  e.words = more;
  set_listed(std::span(words), e);
  EXPECT_EQ(words[0], 5u);
  EXPECT_EQ(words[1], 2u);

  set_listed(std::span(words), of_size(66, 1, {1}));
  EXPECT_EQ(words[0], 5u);
  EXPECT_EQ(words[1], 6u);
}

}  // namespace
}  // namespace era
