// SPDX-License-Identifier: GPL-3.0-or-later
// Which array blocks are accepted, and how many an array has.
#include "persistent-data/format/array_block.h"

#include <gtest/gtest.h>

#include <limits>

#include "persistent-data/testing/blocks.h"

namespace persistent_data {
namespace {

block block_of(std::uint32_t n) {
  std::vector<le32> values;
  for (std::uint32_t i = 0; i < n; ++i) values.emplace_back(i * 0x01010101u);
  return test::make_array_block({1}, values);
}

std::string flaw_of(const block& b, std::uint32_t value_size, std::uint32_t nr_entries) {
  const auto wrong = validate_array_block(b, value_size, nr_entries);
  if (!wrong) return "";
  EXPECT_EQ(wrong->type, error_class::bad_shape);
  return wrong->text;
}

TEST(ArrayBlock, SoundOnes) {
  for (const std::uint32_t n : {0u, 1u, 1017u, 1018u}) EXPECT_EQ(flaw_of(block_of(n), 4, n), "");
  EXPECT_EQ(flaw_of(test::make_array_block({1}, std::vector<le64>(509)), 8, 509), "");
}

TEST(ArrayBlock, ValueSize) {
  EXPECT_EQ(flaw_of(block_of(5), 8, 5), "the array block's value size is 4, not 8");
  block none = block_of(5);
  none.as<array_header>().value_size = 0;
  EXPECT_EQ(flaw_of(none, 4, 5), "the array block's value size is 0, not 4");
}

TEST(ArrayBlock, Room) {
  for (const std::uint32_t room : {0u, 509u, 1017u, 1019u, 0xffffffffu}) {
    block b = block_of(5);
    b.as<array_header>().max_entries = room;
    EXPECT_EQ(flaw_of(b, 4, 5), fmt::format("the array block's room is {}, not 1018", room));
  }
}

TEST(ArrayBlock, NumberOfValues) {
  for (const std::uint32_t n : {0u, 4u, 6u, 1018u, 1019u, 0xffffffffu}) {
    block b = block_of(5);
    b.as<array_header>().nr_entries = n;
    EXPECT_EQ(flaw_of(b, 4, 5), fmt::format("the array block's number of values is {}, not 5", n));
  }
}

TEST(ArrayBlock, ValuesAreReadFromTheirPlaces) {
  block b{};
  b.bytes[8] = std::byte{2};  // nr_entries
  for (std::size_t i = 0; i < 8; ++i) b.bytes[24 + i] = static_cast<std::byte>(i + 1);
  const auto values = array_values<le32>(b);
  ASSERT_EQ(values.size(), 2u);
  EXPECT_EQ(values[0], 0x04030201u);
  EXPECT_EQ(values[1], 0x08070605u);
  const auto full = array_values<le32>(block_of(1018)).back();
  EXPECT_EQ(full, 1017 * 0x01010101u);
}

TEST(ArrayBlock, HowManyAnArrayHas) {
  for (const auto& [values, blocks] : {std::pair<std::uint64_t, std::uint64_t>{0, 0},
                                       {1, 1},
                                       {1018, 1},
                                       {1019, 2},
                                       {2036, 2},
                                       {0x7fffffff, 2109513}})
    EXPECT_EQ(array_blocks_for(values, 4), blocks) << values;
  EXPECT_EQ(array_blocks_for(509, 8), 1u);
  EXPECT_EQ(array_blocks_for(510, 8), 2u);
  // More than all of them: the sum must not wrap around.
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(array_blocks_for(most, 4), most / 1018 + 1);
  EXPECT_EQ(array_blocks_for(most, 8), most / 509 + 1);
}

}  // namespace
}  // namespace persistent_data
