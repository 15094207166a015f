// SPDX-License-Identifier: GPL-3.0-or-later
// Little-endian integers, byte by byte, and the numbers of strong.h.
#include "persistent-data/format/le.h"

#include <gtest/gtest.h>

#include <type_traits>

#include "persistent-data/format/strong.h"

namespace persistent_data {
namespace {

template <class T>
std::vector<int> bytes_of(const T& number) {
  unsigned char raw[sizeof number];
  std::memcpy(raw, &number, sizeof number);
  return {raw, raw + sizeof number};
}

TEST(LittleEndian, TheLowestByteComesFirst) {
  EXPECT_EQ(bytes_of(le16{0x0102}), (std::vector<int>{2, 1}));
  EXPECT_EQ(bytes_of(le32{0x01020304}), (std::vector<int>{4, 3, 2, 1}));
  EXPECT_EQ(bytes_of(le64{0x0102030405060708}), (std::vector<int>{8, 7, 6, 5, 4, 3, 2, 1}));
}

TEST(LittleEndian, IsReadAsItWasWritten) {
  for (const std::uint64_t n : {0ull, 1ull, 0x80ull, 0xff00ull, 0x8000000000000000ull, ~0ull}) {
    EXPECT_EQ(le64{n}, n);
    EXPECT_EQ(le32{static_cast<std::uint32_t>(n)}, static_cast<std::uint32_t>(n));
    EXPECT_EQ(le16{static_cast<std::uint16_t>(n)}, static_cast<std::uint16_t>(n));
  }
}

TEST(LittleEndian, LiesAtAnyAddress) {
  unsigned char raw[9] = {0xee, 1, 2, 3, 4, 5, 6, 7, 8};
  auto& number = *reinterpret_cast<le64*>(raw + 1);
  EXPECT_EQ(number, 0x0807060504030201u);
  number = 5;
  EXPECT_EQ(raw[0], 0xee);
  EXPECT_EQ(raw[1], 5);
  EXPECT_EQ(raw[8], 0);
  static_assert(std::is_trivially_copyable_v<le64> &&
                std::is_trivially_default_constructible_v<le64>);
}

TEST(Range, IsEmptyUnlessItEndsBehindItsBegin) {
  EXPECT_TRUE(range{}.empty());
  EXPECT_TRUE((range{5, 5}.empty()));
  EXPECT_TRUE((range{6, 5}.empty()));
  EXPECT_EQ((range{6, 5}.size()), 0u);
  EXPECT_FALSE((range{5, 6}.empty()));
  EXPECT_EQ((range{5, 9}.size()), 4u);
}

TEST(Range, Intersection) {
  EXPECT_EQ(intersection({0, 10}, {5, 20}), (range{5, 10}));
  EXPECT_EQ(intersection({5, 20}, {0, 10}), (range{5, 10}));
  EXPECT_EQ(intersection({0, 10}, {3, 4}), (range{3, 4}));
  EXPECT_EQ(intersection({0, 10}, {10, 20}), range{});
  EXPECT_EQ(intersection({0, 10}, {15, 20}), range{});
}

TEST(Strong, ComparesAndCounts) {
  using number = strong<struct test_tag, std::uint32_t>;
  number n{4};
  EXPECT_EQ(++n, number{5});
  EXPECT_LT(number{4}, n);
  EXPECT_EQ(fmt::format("{:03}", n), "005");
  static_assert(!std::is_convertible_v<number, std::uint32_t>);
}

}  // namespace
}  // namespace persistent_data
