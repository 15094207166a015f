// SPDX-License-Identifier: GPL-3.0-or-later
// References of values, and nodes of a wrong shape, of trees and of the arrays above them. That a
// tree is a map is in transaction_test.cc.
#include "persistent-data/transaction/btree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "persistent-data/format/errors.h"
#include "persistent-data/format/node_editor.h"
#include "persistent-data/testing/blocks.h"
#include "persistent-data/testing/recording_store.h"
#include "persistent-data/testing/values.h"
#include "persistent-data/transaction/bitset.h"

namespace persistent_data {
namespace {

using test::recording_store;
using test::scratch_device;
using ::testing::HasSubstr;

constexpr block_kind root_kind{"a test's superblock", 4711, 8};

class Btree : public ::testing::Test {
 protected:
  void commit() {
    block superblock{};
    tx_.prepare();
    tx_.commit(root_kind, superblock);
  }

  // How often values are referred to, as the tree tells it.
  std::map<std::uint64_t, int> references_;
  value_references counting() {
    const auto value = [](const std::byte* v) {
      return std::uint64_t{*reinterpret_cast<const le64*>(v)};
    };
    return {[this, value](const std::byte* v) { ++references_[value(v)]; },
            [this, value](const std::byte* v) { --references_[value(v)]; }};
  }

  // An internal node above leaves of keys from 0 on.
  static block_nr make_root(btree<le64>& tree) {
    block_nr root = tree.make();
    for (std::uint64_t key = 0; key < 300; ++key) root = tree.insert(root, key, le64(key));
    return root;
  }

  // Removes keys from 0 on until that is refused; returns why.
  static std::string remove_all(auto& tree, block_nr root) {
    try {
      for (std::uint64_t key = 0;; ++key) root = tree.remove(root, key);
    } catch (const damaged_metadata& e) {
      return e.what();
    }
  }

  scratch_device disk_{4096};
  recording_store store_{disk_};
  transaction tx_{store_, 64};
};

TEST_F(Btree, LetsOldValuesGo) {
  btree<le64> tree(tx_, counting());
  block_nr root = tree.insert(tree.make(), 1, le64(10));
  EXPECT_TRUE(references_.empty());  // the caller's is the tree's now
  root = tree.insert(root, 1, le64(11));
  EXPECT_EQ(references_[10], -1);
  root = tree.remove(root, 1);
  EXPECT_EQ(references_[11], -1);
  EXPECT_FALSE(tree.lookup(root, 1));
  EXPECT_FALSE(tree.lowest(root));
}

// Each value has one reference in each leaf that has it, and none is left in the end.
TEST_F(Btree, CountsWhatTwoTreesShare) {
  constexpr unsigned seed = 1;
  std::mt19937 random(seed);
  btree<le64> tree(tx_, counting());
  block_nr root = tree.make();
  std::uint64_t next = 0;
  const auto insert = [&](std::uint64_t key) {
    references_[next] = 1;
    root = tree.insert(root, key, le64(next++));
  };
  for (int i = 0; i < 5000; ++i) insert(random() % 4000);
  commit();
  const block_nr held = root;
  tx_.counts().increment(held);
  for (int i = 0; i < 3000; ++i) {
    const std::uint64_t key = random() % 4000;
    if (random() % 3 == 0)
      insert(key);
    else if (tree.lookup(root, key))
      root = tree.remove(root, key);
    if (i % 500 == 0) commit();
  }
  // Every value that either tree reaches is alive.
  for (const block_nr r : {root, held})
    test::each_entry<le64>(tx_, r,
                           [&](std::uint64_t, le64 value) { ASSERT_GT(references_[value], 0); });
  tree.release(held);
  std::map<std::uint64_t, int> alive;
  test::each_entry<le64>(tx_, root, [&](std::uint64_t, le64 value) { ++alive[value]; });
  std::erase_if(references_, [](const auto& entry) { return entry.second == 0; });
  EXPECT_EQ(references_, alive) << "seed " << seed;
  tree.release(root);
  for (const auto& [value, count] : references_) ASSERT_EQ(count, 0) << "value " << value;
  commit();
  EXPECT_EQ(tx_.counts().nr_used(), 4u);
}

TEST_F(Btree, AMissingKeyIsDamage) {
  btree<le64> tree(tx_);
  const block_nr root = tree.insert(tree.make(), 5, le64(1));
  EXPECT_THROW(tree.remove(root, 4), damaged_metadata);
  EXPECT_THROW(tree.modify(root, 6, [](le64&) {}), damaged_metadata);
}

TEST_F(Btree, ATreeOfOtherValuesIsDamage) {
  btree<le64> tree(tx_);
  btree<le32> other(tx_);
  const block_nr root = tree.insert(tree.make(), 5, le64(1));
  EXPECT_THROW(other.lookup(root, 5), damaged_metadata);
  EXPECT_THROW(other.insert(root, 6, le32(1)), damaged_metadata);
  EXPECT_THROW(other.remove(root, 5), damaged_metadata);
  EXPECT_THROW(other.release(root), damaged_metadata);
}

// A node below itself: no call goes round for ever.
TEST_F(Btree, ACycleIsDamage) {
  btree<le64> tree(tx_);
  const block_nr root{100};
  while (tx_.counts().allocate() != root) {
  }
  commit();
  tx_.counts().increment(root);
  tx_.counts().decrement(root);
  disk_[root] = test::make_internal(root, {0, 10}, {root, root});
  EXPECT_THROW(tree.lookup(root, 5), damaged_metadata);
  EXPECT_THROW(tree.lowest(root), damaged_metadata);
  EXPECT_THROW(tree.release(root), damaged_metadata);
}

// An internal node refers to a free block, and its own copy gets that block: it is below itself.
TEST_F(Btree, ACopyBelowItselfIsDamage) {
  btree<le64> tree(tx_);
  const block_nr root = make_root(tree);
  const node_editor node(tx_.read(btree_node_kind, root)->content);
  node.set_child(0, root);
  EXPECT_THAT(remove_all(tree, root), HasSubstr("it is a child of its own"));
  EXPECT_THROW(tree.insert(root, 1, le64(1)), damaged_metadata);
}

// Nothing is taken from a neighbour that is the parent.
TEST_F(Btree, ACopyBesideItsChildIsDamage) {
  btree<le64> tree(tx_);
  const block_nr root = make_root(tree);
  const node_editor node(tx_.read(btree_node_kind, root)->content);
  node.set_child(1, root);
  EXPECT_THAT(remove_all(tree, root), HasSubstr("it is a child of its own"));
}

TEST_F(Btree, ChildrenThatAreTheSameBlockAreDamage) {
  btree<le64> tree(tx_);
  const block_nr root = make_root(tree);
  const node_editor node(tx_.read(btree_node_kind, root)->content);
  node.set_child(1, node.child(0));
  EXPECT_THAT(remove_all(tree, root), HasSubstr("as a child twice"));
}

// Neighbours hold values of different sizes: nothing is moved from one to the other.
TEST_F(Btree, ALeafBesideAnInternalNodeIsDamage) {
  btree<le32> tree(tx_);
  block_nr deep = tree.make(), leaf = tree.make();
  for (std::uint64_t key = 1000; key < 30'000; ++key) deep = tree.insert(deep, key, le32(1));
  for (std::uint64_t key = 0; key < 10; ++key) leaf = tree.insert(leaf, key, le32(1));
  const block_ptr root = tx_.create(btree_node_kind);
  const node_editor node(root->content);
  node.make_empty(internal_node, sizeof(le64));
  node.append_child(0, leaf);
  node.append_child(1000, deep);
  ASSERT_GT(node_editor(tx_.read(btree_node_kind, deep)->content).size(), 150u);
  EXPECT_THAT(remove_all(tree, root->where), HasSubstr("a leaf and an internal node"));
}

// The sums of an array's blocks are right, and they hold less, or say that they hold more.
TEST_F(Btree, AnArrayBlockOfAnotherSizeIsDamage) {
  array<le32> values(tx_);
  bitset bits(tx_);
  for (const std::uint32_t entries : {0u, 10u, 1019u, 0xffffffffu}) {
    const block_nr root = values.resize(values.make(), 0, 100, le32(7));
    const block_nr bits_root = bits.make(100 * 64);
    for (const block_nr r : {root, bits_root}) {
      const block_nr where{*btree<le64>(tx_).lookup(r, 0)};
      tx_.read(array_block_kind, where)->content.as<array_header>().nr_entries = entries;
    }
    EXPECT_THROW(values.resize(root, 100, 200, le32(1)), damaged_metadata) << entries;
    EXPECT_THROW(values.resize(root, 100, 50, le32(1)), damaged_metadata) << entries;
    EXPECT_THROW(test::is_set(bits, bits_root, 6399), damaged_metadata) << entries;
    EXPECT_THROW(bits.set(bits_root, range{6399, 6400}), damaged_metadata) << entries;
    EXPECT_THROW(bits.set(bits_root, range{0, 6400}), damaged_metadata) << entries;
    EXPECT_THROW(bits.for_each_set(bits_root, {0, 6400}, [](std::uint64_t) { return true; }),
                 damaged_metadata)
        << entries;
  }
}

}  // namespace
}  // namespace persistent_data
