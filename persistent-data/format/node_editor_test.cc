// SPDX-License-Identifier: GPL-3.0-or-later
// Entries are put in, moved and taken out; what comes of it is a sound node.
#include "persistent-data/format/node_editor.h"

#include <gtest/gtest.h>

#include <vector>

namespace persistent_data {
namespace {

using keys = std::vector<std::uint64_t>;

// The keys of a node of which each value must be its key's square.
keys keys_of(const block& b) {
  EXPECT_FALSE(validate_node(b, sizeof(le32)));
  const node_view node(b);
  keys all;
  for (std::uint32_t i = 0; i < node.size(); ++i) {
    all.push_back(node.key(i));
    EXPECT_EQ(node.value<le32>(i), node.key(i) * node.key(i));
  }
  return all;
}

struct made_node {
  explicit made_node(const keys& some) {
    editor.make_empty(leaf_node, sizeof(le32));
    for (const std::uint64_t key : some) insert(editor.size(), key);
  }
  void insert(std::uint32_t i, std::uint64_t key) const {
    const le32 value = static_cast<std::uint32_t>(key * key);
    editor.insert(i, key, reinterpret_cast<const std::byte*>(&value));
  }

  block b{};
  node_editor editor{b};
};

TEST(NodeEditor, InsertsAndErases) {
  const made_node node({2, 6});
  node.insert(1, 4);
  node.insert(0, 1);
  EXPECT_EQ(keys_of(node.b), (keys{1, 2, 4, 6}));
  node.editor.erase(1, 2);
  EXPECT_EQ(keys_of(node.b), (keys{1, 6}));
}

TEST(NodeEditor, MovesEntriesToANeighbour) {
  const made_node left({1, 2, 3}), right({7, 8, 9});
  right.editor.move_to_end(left.editor, 0, 1);
  EXPECT_EQ(keys_of(left.b), (keys{1, 2, 3, 7}));
  EXPECT_EQ(keys_of(right.b), (keys{8, 9}));
  left.editor.move_to_begin(right.editor, 2, 2);
  EXPECT_EQ(keys_of(left.b), (keys{1, 2}));
  EXPECT_EQ(keys_of(right.b), (keys{3, 7, 8, 9}));
}

TEST(NodeEditor, FindsKeysAndTheirChildren) {
  const made_node node({2, 6});
  EXPECT_EQ(node.editor.find(6), 1u);
  EXPECT_EQ(node.editor.find(5), std::nullopt);
  EXPECT_EQ(node.editor.entry_for(1), 0u);
  EXPECT_EQ(node.editor.entry_for(5), 0u);
  EXPECT_EQ(node.editor.entry_for(7), 1u);
}

TEST(NodeEditor, IsFullAtItsRoom) {
  keys all;
  for (std::uint64_t i = 0; i < max_node_entries(sizeof(le32)); ++i) all.push_back(i);
  const made_node node(all);
  EXPECT_TRUE(node.editor.is_full());
  EXPECT_EQ(keys_of(node.b), all);
}

TEST(NodeEditor, AnInternalNodeHasChildren) {
  block b{};
  const node_editor editor(b);
  editor.make_empty(internal_node, child_size);
  editor.append_child(0, {11});
  editor.append_child(9, {12});
  editor.set_child(0, {10});
  EXPECT_FALSE(validate_node(b, sizeof(le32)));
  EXPECT_EQ(editor.child(0), block_nr{10});
  EXPECT_EQ(editor.child(1), block_nr{12});
  EXPECT_EQ(editor.kind(), internal_node);
}

}  // namespace
}  // namespace persistent_data
