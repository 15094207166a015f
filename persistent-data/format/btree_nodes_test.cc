// SPDX-License-Identifier: GPL-3.0-or-later
// How many nodes there are, and what each of them gets. write/btree_builder_test.cc reads whole
// trees back.
#include "persistent-data/format/btree_nodes.h"

#include <gtest/gtest.h>

#include <vector>

#include "persistent-data/format/array_block.h"

namespace persistent_data {
namespace {

TEST(BtreeNodes, GetTheirPlacesLevelByLevel) {
  std::vector<btree_entry<le64>> entries;
  for (std::uint64_t i = 0; i < 505; ++i) entries.push_back({2 * i, i});
  std::vector<block> nodes;
  const auto put_node = [&](const block& node) {
    nodes.push_back(node);
    return block_nr{100 + nodes.size()};
  };
  EXPECT_EQ(build_btree_nodes<le64>(put_node, entries), block_nr{104});
  ASSERT_EQ(nodes.size(), 4u);
  const node_view root(nodes[3]);
  EXPECT_FALSE(root.is_leaf());
  ASSERT_EQ(root.size(), 3u);
  for (std::uint32_t i = 0; i < 3; ++i) {
    const node_view leaf(nodes[i]);
    EXPECT_TRUE(leaf.is_leaf());
    EXPECT_EQ(root.child(i), block_nr{101 + i});
    EXPECT_EQ(root.key(i), leaf.key(0));
    EXPECT_EQ(leaf.value<le64>(0) * 2, leaf.key(0));
  }
}

TEST(BtreeNodes, AreCountedAhead) {
  EXPECT_EQ(btree_nodes_for(0, 8), 1u);
  EXPECT_EQ(btree_nodes_for(252, 8), 1u);
  EXPECT_EQ(btree_nodes_for(253, 8), 3u);
  EXPECT_EQ(btree_nodes_for(201, 12), 1u);
  EXPECT_EQ(btree_nodes_for(202, 12), 3u);
  EXPECT_EQ(btree_nodes_for(252 * 252, 8), 253u);
  EXPECT_EQ(btree_nodes_for(252 * 252 + 1, 8), 253u + 1 + 2);
}

TEST(BtreeNodes, AreDeepEnoughForTheLargestArray) {
  // 2^31 - 1 eras: more than 252 * 252 * 32 blocks would be a fourth level.
  const std::uint64_t blocks = array_blocks_for(0x7fffffff, 4);
  EXPECT_EQ(blocks, 2109513u);
  const std::uint64_t leaves = (blocks + 251) / 252, parents = (leaves + 251) / 252;
  EXPECT_EQ(btree_nodes_for(blocks, 8), leaves + parents + 1);
}

}  // namespace
}  // namespace persistent_data
