// SPDX-License-Identifier: GPL-3.0-or-later
// Validating a block and preparing it for writing: right blocks, and every way of being wrong.
#include "persistent-data/format/block.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "persistent-data/format/checksum.h"

namespace persistent_data {
namespace {

struct known_kind {
  block_kind kind;
  std::uint32_t salt;  // as the format has it
  std::size_t blocknr_offset;
};

const known_kind kinds[] = {{btree_node_kind, 121107, 8},
                            {array_block_kind, 595846735, 16},
                            {space_map_index_kind, 160478, 8},
                            {space_map_bitmap_kind, 240779, 8}};

constexpr block_nr here{0x0102030405060708};

block random_block(unsigned seed) {
  std::mt19937 random(seed);
  block b;
  for (auto& x : b.bytes) x = static_cast<std::byte>(random());
  return b;
}

void flip(block& b, std::size_t bit) { b.bytes[bit / 8] ^= std::byte(1 << bit % 8); }

TEST(Block, PreparingWritesTheNumberAndTheChecksumAndNothingElse) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  for (const known_kind& k : kinds) {
    const block before = random_block(seed);
    block after = before;
    prepare_for_write(k.kind, after, here);
    for (std::size_t i = 0; i < 8; ++i)
      EXPECT_EQ(after.bytes[k.blocknr_offset + i], std::byte(8 - i)) << k.kind.name;
    const std::uint32_t checksum = crc32c(std::span(after.bytes).subspan(4)) ^ k.salt;
    for (std::size_t i = 0; i < 4; ++i)
      EXPECT_EQ(after.bytes[i], static_cast<std::byte>(checksum >> 8 * i)) << k.kind.name;
    for (std::size_t i = 4; i < block_size; ++i) {
      if (i >= k.blocknr_offset && i < k.blocknr_offset + 8) continue;
      ASSERT_EQ(after.bytes[i], before.bytes[i]) << i;
    }
  }
}

TEST(Block, WhatIsSealedIsIntact) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  for (const known_kind& k : kinds)
    for (const block_nr where :
         {block_nr{0}, {1}, here, {std::numeric_limits<std::uint64_t>::max()}}) {
      block b = random_block(seed);
      prepare_for_write(k.kind, b, where);
      EXPECT_FALSE(validate(k.kind, b, where)) << k.kind.name;
      block zeros{};
      prepare_for_write(k.kind, zeros, where);
      EXPECT_FALSE(validate(k.kind, zeros, where)) << k.kind.name;
    }
}

TEST(Block, OneBitAnywhereIsFound) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  for (const known_kind& k : kinds) {
    block b = random_block(seed);
    prepare_for_write(k.kind, b, here);
    for (std::size_t bit = 0; bit < 8 * block_size; ++bit) {
      flip(b, bit);
      const auto wrong = validate(k.kind, b, here);
      flip(b, bit);
      ASSERT_TRUE(wrong) << k.kind.name << " bit " << bit;
      ASSERT_EQ(wrong->type, error_class::bad_checksum) << k.kind.name << " bit " << bit;
      ASSERT_EQ(wrong->text, "the checksum does not match the content");
    }
  }
}

TEST(Block, ZerosAreNothing) {
  for (const known_kind& k : kinds) {
    const auto wrong = validate(k.kind, block{}, {0});
    ASSERT_TRUE(wrong);
    EXPECT_EQ(wrong->type, error_class::bad_checksum);
    EXPECT_EQ(wrong->text, "the block holds only zeros");
  }
}

TEST(Block, AnotherKindIsNamed) {
  for (const known_kind& written : kinds)
    for (const known_kind& wanted : kinds) {
      if (written.salt == wanted.salt) continue;
      block b = random_block(4);
      prepare_for_write(written.kind, b, {77});
      const auto wrong = validate(wanted.kind, b, {77});
      ASSERT_TRUE(wrong);
      EXPECT_EQ(wrong->type, error_class::wrong_kind);
      EXPECT_EQ(wrong->text,
                fmt::format("the block holds {} (written for block 77)", written.kind.name));
    }
}

TEST(Block, AnotherPlaceIsNamed) {
  for (const known_kind& k : kinds)
    for (const std::uint64_t bit : {0u, 1u, 31u, 32u, 63u}) {
      block b = random_block(5);
      prepare_for_write(k.kind, b, here);
      const auto wrong = validate(k.kind, b, {here.value ^ std::uint64_t{1} << bit});
      ASSERT_TRUE(wrong) << bit;
      EXPECT_EQ(wrong->type, error_class::wrong_place);
      EXPECT_EQ(wrong->text,
                fmt::format("the block holds {} that was written for block {}", k.kind.name, here));
    }
}

TEST(Block, IsZeroSeesEveryByte) {
  block b{};
  EXPECT_TRUE(is_zero(b));
  for (std::size_t i = 0; i < block_size; ++i) {
    b.bytes[i] = std::byte{1};
    ASSERT_FALSE(is_zero(b)) << i;
    b.bytes[i] = {};
  }
}

// Programs read them.
TEST(ErrorClassName, IsThereForEach) {
  const std::pair<error_class, std::string_view> names[] = {
      {error_class::io_error, "io-error"},
      {error_class::bad_checksum, "bad-checksum"},
      {error_class::wrong_kind, "wrong-kind"},
      {error_class::wrong_place, "wrong-place"},
      {error_class::bad_shape, "bad-shape"},
      {error_class::bad_pointer, "bad-pointer"},
      {error_class::cross_linked, "cross-linked"},
      {error_class::missing, "missing"},
      {error_class::bad_value, "bad-value"},
      {error_class::count_too_low, "count-too-low"},
      {error_class::count_too_high, "count-too-high"}};
  for (const auto& [what, word] : names) EXPECT_EQ(name(what), word);
}

}  // namespace
}  // namespace persistent_data
