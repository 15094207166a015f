// SPDX-License-Identifier: GPL-3.0-or-later
// Which nodes are accepted, and what is read from them, by literal offsets.
#include "persistent-data/format/btree_node.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>

#include "persistent-data/testing/blocks.h"

namespace persistent_data {
namespace {

std::vector<std::uint64_t> keys_up_to(std::uint32_t n) {
  std::vector<std::uint64_t> keys(n);
  std::iota(keys.begin(), keys.end(), std::uint64_t{5});
  return keys;
}

block leaf_of(std::uint32_t n) {
  return test::make_leaf({1}, keys_up_to(n), std::vector<le64>(n, 9));
}

block node_of(std::uint32_t n) {
  return test::make_internal({1}, keys_up_to(n), std::vector<block_nr>(n, block_nr{9}));
}

// Returns the message of validate_node; empty: the node is sound.
std::string flaw_of(const block& b, std::uint32_t leaf_value_size = 8) {
  const auto wrong = validate_node(b, leaf_value_size);
  if (!wrong) return "";
  EXPECT_EQ(wrong->type, error_class::bad_shape);
  return wrong->text;
}

template <class Change>
std::string flaw_after(const block& sound, Change change, std::uint32_t leaf_value_size = 8) {
  block b = sound;
  change(b.as<node_header>());
  return flaw_of(b, leaf_value_size);
}

TEST(BtreeNode, SoundOnes) {
  for (const std::uint32_t n : {0u, 1u, 2u, 251u, 252u}) EXPECT_EQ(flaw_of(leaf_of(n)), "") << n;
  for (const std::uint32_t n : {1u, 2u, 251u, 252u}) EXPECT_EQ(flaw_of(node_of(n)), "") << n;
  EXPECT_EQ(flaw_of(test::make_leaf<le32>({1}, keys_up_to(336), std::vector<le32>(336)), 4), "");
  const std::vector<std::byte> twelve(201 * 12);
  EXPECT_EQ(flaw_of(test::make_node({1}, leaf_node, keys_up_to(201), twelve, 12), 12), "");
  // Internal nodes of every tree have children of 8 bytes.
  EXPECT_EQ(flaw_of(node_of(7), 12), "");
}

TEST(BtreeNode, Flags) {
  for (const std::uint32_t flags : {0u, 3u, 4u, 0x100u, 0x80000002u, 0xffffffffu})
    EXPECT_EQ(flaw_after(leaf_of(3), [&](auto& header) { header.flags = flags; }),
              fmt::format("the node's flags are {}, neither internal (1) nor leaf (2)", flags));
}

TEST(BtreeNode, ValueSize) {
  EXPECT_EQ(flaw_of(leaf_of(3), 12), "the node's values are 8 bytes, not 12");
  for (const std::uint32_t size : {0u, 4u, 7u, 9u, 0xffffffffu}) {
    const auto change = [&](auto& header) { header.value_size = size; };
    EXPECT_EQ(flaw_after(leaf_of(3), change),
              fmt::format("the node's values are {} bytes, not 8", size));
    EXPECT_EQ(flaw_after(node_of(3), change, 4),
              fmt::format("the node's values are {} bytes, not 8", size));
  }
}

TEST(BtreeNode, Room) {
  for (const std::uint32_t room : {0u, 251u, 253u, 254u, 0xffffffffu})
    EXPECT_EQ(flaw_after(leaf_of(3), [&](auto& header) { header.max_entries = room; }),
              fmt::format("the node has room for {} entries, not 252", room));
}

TEST(BtreeNode, Entries) {
  for (const std::uint32_t n : {253u, 254u, 0xffffffffu})
    EXPECT_EQ(flaw_after(leaf_of(252), [&](auto& header) { header.nr_entries = n; }),
              fmt::format("the node claims {} entries and has room for 252", n));
}

TEST(BtreeNode, WithoutChildren) {
  EXPECT_EQ(flaw_of(node_of(0)), "the node is internal and has no children");
}

TEST(BtreeNode, OrderOfKeys) {
  const auto of = [](std::vector<std::uint64_t> keys) {
    return flaw_of(test::make_leaf({1}, keys, std::vector<le64>(keys.size())));
  };
  constexpr std::uint64_t largest = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(of({0, 1, 2, largest}), "");
  EXPECT_EQ(of({1, 1}), "the node's keys do not ascend: 1 before 1 at entry 1");
  EXPECT_EQ(of({1, 2, 0}), "the node's keys do not ascend: 2 before 0 at entry 2");
  EXPECT_EQ(of({largest, 0}),
            fmt::format("the node's keys do not ascend: {} before 0 at entry 1", largest));
  auto last_two = keys_up_to(252);
  std::swap(last_two[250], last_two[251]);
  EXPECT_EQ(of(last_two), "the node's keys do not ascend: 256 before 255 at entry 251");
}

// By the offsets of the format: the keys at 32, the values after room for 252 of them.
TEST(BtreeNode, IsReadFromItsPlaces) {
  block b{};
  const auto put = [&](std::size_t at, std::initializer_list<int> bytes) {
    for (const int x : bytes) b.bytes[at++] = static_cast<std::byte>(x);
  };
  put(4, {2});            // flags
  put(16, {2});           // nr_entries
  put(20, {252});         // max_entries
  put(24, {8});           // value_size
  put(32, {0x34, 0x12});  // keys
  put(40, {0, 0, 0, 0, 0, 0, 0, 0x80});
  put(32 + 252 * 8, {1, 2, 3, 4, 5, 6, 7, 8});  // values
  put(32 + 252 * 8 + 8, {7});
  ASSERT_EQ(flaw_of(b), "");
  const node_view leaf(b);
  EXPECT_TRUE(leaf.is_leaf());
  EXPECT_EQ(leaf.size(), 2u);
  EXPECT_EQ(leaf.key(0), 0x1234u);
  EXPECT_EQ(leaf.key(1), std::uint64_t{1} << 63);
  EXPECT_EQ(leaf.value<le64>(0), 0x0807060504030201u);
  EXPECT_EQ(leaf.value<le64>(1), 7u);
  put(4, {1});
  const node_view internal(b);
  EXPECT_FALSE(internal.is_leaf());
  EXPECT_EQ(internal.child(1), block_nr{7});
}

TEST(BtreeNode, ValuesOfOtherSizes) {
  const block small = test::make_leaf<le32>({1}, {1, 2, 3}, {4, 5, 6});
  EXPECT_EQ(node_view(small).value<le32>(2), 6u);
  EXPECT_EQ(small.bytes[32 + 336 * 8 + 2 * 4], std::byte{6});
}

}  // namespace
}  // namespace persistent_data
