// SPDX-License-Identifier: GPL-3.0-or-later
// The loops over eras, with AVX2 and without, at lengths around those of a vector.
#include "era/metadata/raise.h"

#include <gtest/gtest.h>

#include <vector>

#include "era/testing/plain_loops.h"

namespace era {
namespace {

// Lengths around those that are raised in one go.
TEST(Raise, KeepsTheNewerEra) {
  test::with_either_loop([&] {
    for (std::size_t size = 0; size < 40; ++size) {
      std::vector<std::uint32_t> eras(size), expected(size);
      std::vector<pd::le32> values(size);
      for (std::uint32_t i = 0; i < size; ++i) {
        eras[i] = i % 3 == 0 ? 0xfffffffe : i;
        values[i] = 20;
        expected[i] = std::max(eras[i], 20u);
      }
      raise(eras, values);
      EXPECT_EQ(eras, expected) << size;
    }
  });
}

TEST(Raise, IgnoresWhatIsPastTheEnd) {
  std::vector<std::uint32_t> eras(10);
  raise(eras, std::vector<pd::le32>(20, pd::le32(3)));
  EXPECT_EQ(eras, std::vector<std::uint32_t>(10, 3));
  const std::vector<pd::le64> words{0x0fff};
  raise(eras, std::span(words), {7});
  EXPECT_EQ(eras, std::vector<std::uint32_t>(10, 7));
}

TEST(Raise, RaisesBlocksThatHaveTheirBitSet) {
  std::vector<std::uint32_t> eras{1, 9, 1, 9};
  const std::vector<std::uint64_t> words{0x3};
  raise(eras, std::span(words), {5});
  EXPECT_EQ(eras, (std::vector<std::uint32_t>{5, 9, 1, 9}));
  raise(eras, era_nr{2});
  EXPECT_EQ(eras, (std::vector<std::uint32_t>{5, 9, 2, 9}));
}

}  // namespace
}  // namespace era
