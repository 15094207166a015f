// SPDX-License-Identifier: GPL-3.0-or-later
// Walks (btree_walk.h) over damaged and hostile trees: every key comes in a leaf or in a lost
// range, in order; each damage is told once; and the walk ends.
#include <gtest/gtest.h>

#include <limits>

#include "persistent-data/read/btree_walk.h"
#include "persistent-data/testing/blocks.h"
#include "persistent-data/testing/scratch_device.h"

namespace persistent_data {
namespace {

using test::damage_log;
using test::layout;
using test::make_internal;
using test::reader;
using test::scratch_device;
using strings = std::vector<std::string>;

constexpr std::uint64_t last = std::numeric_limits<std::uint64_t>::max();

std::string text(range r) {
  return fmt::format("lost {}-{}", r.begin, r.end == last ? "" : std::to_string(r.end));
}

// Leaves and lost ranges as they come, "leaf 7" and "lost 20-40"; lost neighbours as one range.
class transcript {
 public:
  void leaf(std::uint64_t where) {
    flush();
    lines_.push_back(fmt::format("leaf {}", where));
  }
  void lost(range keys) {
    if (gap_.empty() || gap_.end != keys.begin) flush(), gap_ = keys;
    gap_.end = keys.end;
  }
  strings lines() {
    flush();
    return lines_;
  }

 private:
  void flush() {
    if (!gap_.empty()) lines_.push_back(text(gap_));
    gap_ = {};
  }
  strings lines_;
  range gap_;
};

struct outcome {
  strings events;
  damage_log damages;
};

outcome walk(btree_walk& w, block_nr root, std::optional<block_nr> from = {}) {
  transcript events;
  outcome o;
  w.walk(from, root, sizeof(le64),
         {[&](block_nr where, const node_view&) { events.leaf(where.value); },
          [&](range keys) { events.lost(keys); }, o.damages.sink()});
  o.events = events.lines();
  return o;
}

block leaf(std::uint64_t where, const std::vector<std::uint64_t>& keys) {
  return test::make_leaf({where}, keys, std::vector<le64>(keys.size()));
}

// Leaf b, of blocks 1 to 9, has keys 20 * (b - 1) and 10 more; the nodes 10, 11 and 12 have three
// leaves each, and 13 is the root.
class DamagedBtree : public testing::TestWithParam<engine_choice> {
 protected:
  DamagedBtree() {
    std::vector<std::pair<std::uint64_t, le64>> entries;
    for (std::uint64_t key = 0; key < 180; key += 10) entries.emplace_back(key, key);
    const auto tree = layout(device).btree(entries, {2, 3});
    EXPECT_EQ(tree.root.value, 13u);
  }

  outcome walk_all() {
    reader r(device, GetParam());
    return walk(r.walk, {13});
  }

  scratch_device device{20};
};

INSTANTIATE_TEST_SUITE_P(Engines, DamagedBtree,
                         testing::Values(engine_choice::sync, engine_choice::aio,
                                         engine_choice::uring),
                         [](const auto& p) {
                           return p.param == engine_choice::sync  ? "sync"
                                  : p.param == engine_choice::aio ? "aio"
                                                                  : "uring";
                         });

TEST_P(DamagedBtree, ALostLeaf) {
  device.damage_block({3});
  const outcome o = walk_all();
  EXPECT_EQ(o.events, (strings{"leaf 1", "leaf 2", "lost 40-60", "leaf 4", "leaf 5", "leaf 6",
                               "leaf 7", "leaf 8", "leaf 9"}));
  EXPECT_EQ(o.damages.text(), "3: bad-checksum [40, 60) the checksum does not match the content\n");
}

TEST_P(DamagedBtree, ALostNode) {
  device.damage_block({11});
  EXPECT_EQ(walk_all().events,
            (strings{"leaf 1", "leaf 2", "leaf 3", "lost 60-120", "leaf 7", "leaf 8", "leaf 9"}));
}

TEST_P(DamagedBtree, TheLastNodeLosesAllKeysToTheEnd) {
  device.damage_block({12});
  EXPECT_EQ(walk_all().events,
            (strings{"leaf 1", "leaf 2", "leaf 3", "leaf 4", "leaf 5", "leaf 6", "lost 120-"}));
}

TEST_P(DamagedBtree, ALostRoot) {
  device.damage_block({13});
  EXPECT_EQ(walk_all().events, strings{"lost 0-"});
}

TEST_P(DamagedBtree, UnreadableBlocks) {
  reader r(device, GetParam());
  device.cut(9);
  device[{8}] = make_internal({8}, {0, 40, 60}, {{1}, {9}, {2}});
  device[{2}] = leaf(2, {60});
  const outcome o = walk(r.walk, {8});
  EXPECT_EQ(o.events, (strings{"leaf 1", "lost 40-60", "leaf 2"}));
  EXPECT_EQ(o.damages.text(), "9: io-error [40, 60) the block cannot be read: No data available\n");
}

// Every set of lost blocks, against a description of the tree that knows nothing of levels.
TEST_P(DamagedBtree, EverySetOfLostBlocks) {
  reader r(device, GetParam());
  const scratch_device& read_only = device;
  std::vector<block> sound, damaged;
  for (std::uint64_t b = 1; b <= 13; ++b) {
    sound.push_back(read_only[{b}]);
    device.damage_block({b});
    damaged.push_back(read_only[{b}]);
  }
  for (unsigned set = 0; set < 1u << 13; ++set) {
    const auto is_lost = [&](std::uint64_t b) { return set >> (b - 1) & 1; };
    for (std::uint64_t b = 1; b <= 13; ++b)
      device[{b}] = is_lost(b) ? damaged[b - 1] : sound[b - 1];
    transcript expected;
    std::size_t found = 0;
    if (is_lost(13)) ++found, expected.lost({0, last});
    for (std::uint64_t node = 10; node <= 12 && !is_lost(13); ++node) {
      const std::uint64_t begin = (node - 10) * 60;
      if (is_lost(node)) ++found, expected.lost({begin, node == 12 ? last : begin + 60});
      for (std::uint64_t l = 3 * (node - 10) + 1, i = 0; i < 3 && !is_lost(node); ++i, ++l)
        if (is_lost(l))
          ++found, expected.lost({20 * (l - 1), l == 9 ? last : 20 * l});
        else
          expected.leaf(l);
    }
    reference_counter counter(device.nr_blocks(), reference_counter::counting::no);
    btree_walk w(r.queue, counter);
    const outcome o = walk(w, {13});
    ASSERT_EQ(o.events, expected.lines()) << set;
    ASSERT_EQ(o.damages.all.size(), found) << set;
  }
}

// Changes child 1 of node 11 (leaf 5, keys 80 to 100) to something that must not be entered.
class WrongPointer : public DamagedBtree {
 protected:
  void expect(std::uint64_t pointer, const std::string& damages) {
    device[{11}] = make_internal({11}, {60, 80, 100}, {{4}, {pointer}, {6}});
    const outcome o = walk_all();
    EXPECT_EQ(o.events, (strings{"leaf 1", "leaf 2", "leaf 3", "leaf 4", "lost 80-100", "leaf 6",
                                 "leaf 7", "leaf 8", "leaf 9"}));
    EXPECT_EQ(o.damages.text(), damages);
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, WrongPointer,
                         testing::Values(engine_choice::sync, engine_choice::aio,
                                         engine_choice::uring));

TEST_P(WrongPointer, ToItself) {
  expect(11, "11: cross-linked [80, 100) it points to block 11, which something else owns\n");
}
TEST_P(WrongPointer, ToItsParent) {
  expect(13, "11: cross-linked [80, 100) it points to block 13, which something else owns\n");
}
TEST_P(WrongPointer, ToItsSibling) {
  expect(4, "11: cross-linked [80, 100) it points to block 4, which something else owns\n");
}
TEST_P(WrongPointer, ToTheSuperblock) {
  expect(0, "11: bad-pointer [80, 100) it points to the superblock\n");
}
TEST_P(WrongPointer, PastTheEnd) {
  expect(20, "11: bad-pointer [80, 100) it points to block 20, past the metadata's end\n");
}
TEST_P(WrongPointer, PastAnyDevice) {
  expect(last, fmt::format("11: bad-pointer [80, 100) it points to block {}, past the metadata's "
                           "end\n",
                           last));
}
TEST_P(WrongPointer, ToNothing) {
  expect(17, "17: bad-checksum [80, 100) the block holds only zeros\n");
}

// The first to reach a block has it, and there its keys do not fit: both ranges are lost.
TEST_P(WrongPointer, ToALaterLeaf) {
  device[{11}] = make_internal({11}, {60, 80, 100}, {{4}, {8}, {6}});
  const outcome o = walk_all();
  EXPECT_EQ(o.events, (strings{"leaf 1", "leaf 2", "leaf 3", "leaf 4", "lost 80-100", "leaf 6",
                               "leaf 7", "lost 140-160", "leaf 9"}));
  EXPECT_EQ(o.damages.text(),
            "12: cross-linked [140, 160) it points to block 8, which something else owns\n"
            "8: bad-shape [80, 100) the node has key 140, and its parent places it from 80 to "
            "before 100\n");
}

TEST_P(WrongPointer, IsCountedAsAReference) {
  device[{11}] = make_internal({11}, {60, 80, 100}, {{4}, {4}, {6}});
  reader r(device, GetParam());
  walk(r.walk, {13});
  EXPECT_EQ(r.counter.references({4}), 2u);
  EXPECT_EQ(r.counter.references({5}), 0u);
}

TEST_P(DamagedBtree, AKeyBelowTheParents) {
  device[{5}] = leaf(5, {79, 90});
  const outcome o = walk_all();
  EXPECT_EQ(o.events, (strings{"leaf 1", "leaf 2", "leaf 3", "leaf 4", "lost 80-100", "leaf 6",
                               "leaf 7", "leaf 8", "leaf 9"}));
  EXPECT_EQ(o.damages.text(),
            "5: bad-shape [80, 100) the node has key 79, and its parent places it from 80 to "
            "before 100\n");
}

TEST_P(DamagedBtree, AKeyAtTheNextOne) {
  device[{5}] = leaf(5, {80, 90, 100});
  EXPECT_EQ(walk_all().damages.text(),
            "5: bad-shape [80, 100) the node has key 100, and its parent places it from 80 to "
            "before 100\n");
}

TEST_P(DamagedBtree, ANodesKeyAtTheNextOne) {
  device[{11}] = make_internal({11}, {60, 80, 120}, {{4}, {5}, {6}});
  const outcome o = walk_all();
  EXPECT_EQ(o.events,
            (strings{"leaf 1", "leaf 2", "leaf 3", "lost 60-120", "leaf 7", "leaf 8", "leaf 9"}));
}

TEST_P(DamagedBtree, AnEmptyLeafBelowTheRoot) {
  device[{5}] = leaf(5, {});
  const outcome o = walk_all();
  EXPECT_EQ(o.events[4], "lost 80-100");
  EXPECT_EQ(o.damages.text(), "5: bad-shape [80, 100) a leaf without entries below a root\n");
}

TEST_P(DamagedBtree, ALeafAmongNodes) {
  device[{11}] = leaf(11, {60, 70});
  const outcome o = walk_all();
  EXPECT_EQ(o.events,
            (strings{"leaf 1", "leaf 2", "leaf 3", "lost 60-120", "leaf 7", "leaf 8", "leaf 9"}));
  EXPECT_EQ(o.damages.text(), "11: bad-shape [60, 120) a leaf on a level of internal nodes\n");
}

TEST_P(DamagedBtree, ANodeAmongLeaves) {
  device[{5}] = make_internal({5}, {80}, {{14}});
  device[{14}] = leaf(14, {80, 90});
  const outcome o = walk_all();
  EXPECT_EQ(o.events[4], "lost 80-100");
  EXPECT_EQ(o.damages.text(), "5: bad-shape [80, 100) an internal node on a level of leaves\n");
}

// Nothing tells who is right; the node is believed, as there is more below it.
TEST_P(DamagedBtree, ANodeAndALeaf) {
  device[{13}] = make_internal({13}, {0, 120}, {{1}, {12}});
  const outcome o = walk_all();
  EXPECT_EQ(o.events, (strings{"lost 0-120", "leaf 7", "leaf 8", "leaf 9"}));
  EXPECT_EQ(o.damages.text(), "1: bad-shape [0, 120) a leaf on a level of internal nodes\n");
}

TEST_P(DamagedBtree, AWrongShape) {
  test::change_and_prepare<node_header>(btree_node_kind, device[{5}], {5},
                                        [](auto& h) { h.flags = 3; });
  const outcome o = walk_all();
  EXPECT_EQ(o.events[4], "lost 80-100");
  EXPECT_EQ(o.damages.text(),
            "5: bad-shape [80, 100) the node's flags are 3, neither internal (1) nor leaf (2)\n");
}

TEST_P(DamagedBtree, LeavesOfAnotherTree) {
  device[{5}] = test::make_leaf<le32>({5}, {80, 90}, {1, 2});
  EXPECT_EQ(walk_all().damages.text(),
            "5: bad-shape [80, 100) the node's values are 4 bytes, not 8\n");
}

// Roots; the block that points to them is the one that is told.
TEST(BtreeRoot, ThatCannotBeEntered) {
  scratch_device device(5);
  device[{3}] = leaf(3, {1});
  reader r(device);
  EXPECT_EQ(walk(r.walk, {3}).events, strings{"leaf 3"});
  for (const auto& [root, what] :
       {std::pair<std::uint64_t, std::string>{0, "bad-pointer [0, {}) it points to the superblock"},
        {5, "bad-pointer [0, {}) it points to block 5, past the metadata's end"},
        {3, "cross-linked [0, {}) it points to block 3, which something else owns"}}) {
    const std::string detail = fmt::format(fmt::runtime(what), last);
    const outcome live = walk(r.walk, {root}), below = walk(r.walk, {root}, block_nr{2});
    EXPECT_EQ(live.events, strings{"lost 0-"});
    EXPECT_EQ(live.damages.text(), "0: " + detail + "\n");
    EXPECT_EQ(below.events, strings{"lost 0-"});
    EXPECT_EQ(below.damages.text(), "2: " + detail + "\n");
  }
}

// A node in block b has its only child in block b + 1; the last is a leaf.
outcome walk_chain(std::uint64_t levels) {
  scratch_device device(levels + 1);
  for (std::uint64_t b = 1; b < levels; ++b) device[{b}] = make_internal({b}, {7}, {{b + 1}});
  device[{levels}] = leaf(levels, {7});
  reader r(device);
  return walk(r.walk, {1});
}

TEST(BtreeDepth, IsBounded) {
  EXPECT_EQ(walk_chain(16).events, strings{"leaf 16"});
  const outcome too_deep = walk_chain(17);
  EXPECT_EQ(too_deep.events, strings{"lost 7-"});
  EXPECT_EQ(too_deep.damages.text(),
            fmt::format("16: bad-shape [7, {}) the tree is deeper than 16 levels\n", last));
  EXPECT_EQ(walk_chain(1000).events, strings{"lost 7-"});
}

// Levels of more than one batch of 256. The root is block 1, its nodes follow, then 600 leaves.
class LargeLevel : public testing::Test {
 protected:
  LargeLevel() {
    std::vector<std::uint64_t> root_keys;
    std::vector<block_nr> nodes;
    for (std::uint64_t n = 0; n < 6; ++n) {
      std::vector<std::uint64_t> keys;
      std::vector<block_nr> children;
      for (std::uint64_t i = 100 * n; i < 100 * (n + 1); ++i) {
        keys.push_back(i), children.push_back(leaf_at(i));
        device[leaf_at(i)] = leaf(leaf_at(i).value, {i});
      }
      nodes.push_back({2 + n}), root_keys.push_back(100 * n);
      device[{2 + n}] = make_internal({2 + n}, keys, children);
    }
    device[{1}] = make_internal({1}, root_keys, nodes);
  }

  static block_nr leaf_at(std::uint64_t i) { return {10 + i}; }

  // The events if these leaves are lost: each loss is reported.
  void expect_lost(range leaves) {
    for (std::uint64_t i = leaves.begin; i < leaves.end; ++i) device.damage_block(leaf_at(i));
    transcript expected;
    for (std::uint64_t i = 0; i < leaves.begin; ++i) expected.leaf(leaf_at(i).value);
    expected.lost({leaves.begin, leaves.end == 600 ? last : leaves.end});
    for (std::uint64_t i = leaves.end; i < 600; ++i) expected.leaf(leaf_at(i).value);
    reader r(device);
    const outcome o = walk(r.walk, {1});
    EXPECT_EQ(o.events, expected.lines());
    EXPECT_EQ(o.damages.all.size(), leaves.size());
  }

  scratch_device device{700};
};

// Nothing tells yet what kind of level it is.
TEST_F(LargeLevel, TheFirstBatchIsLost) { expect_lost({0, 256}); }
TEST_F(LargeLevel, TheFirstBatchAndMoreAreLost) { expect_lost({0, 300}); }
TEST_F(LargeLevel, TheFirstTwoBatchesAreLost) { expect_lost({0, 512}); }
TEST_F(LargeLevel, ABatchInTheMiddleIsLost) { expect_lost({256, 512}); }
TEST_F(LargeLevel, TheEndIsLost) { expect_lost({500, 600}); }
TEST_F(LargeLevel, AllLeavesAreLost) { expect_lost({0, 600}); }

// Gaps of the level above, and of the first batch, travel down past a level of nodes.
TEST_F(LargeLevel, TheFirstBatchOfNodesIsLost) {
  scratch_device larger(1400);
  for (std::uint64_t i = 0; i < 600; ++i) {
    const std::uint64_t below = 700 + i;
    larger[leaf_at(i)] = make_internal(leaf_at(i), {i}, {{below}});
    larger[{below}] = leaf(below, {i});
    if (i < 400) larger.damage_block(leaf_at(i));
  }
  for (std::uint64_t b = 1; b < 8; ++b) larger[{b}] = device[{b}];
  larger.damage_block({4});  // keys 200 to 300
  transcript expected;
  expected.lost({0, 400});
  for (std::uint64_t i = 400; i < 600; ++i) expected.leaf(700 + i);
  reader r(larger);
  const outcome o = walk(r.walk, {1});
  EXPECT_EQ(o.events, expected.lines());
  EXPECT_EQ(o.damages.all.size(), 301u);
}

}  // namespace
}  // namespace persistent_data
