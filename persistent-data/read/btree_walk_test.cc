// SPDX-License-Identifier: GPL-3.0-or-later
// Sound trees of every height, on both engines: all leaves, in order, each block read once.
// btree_damage_test.cc has the walks over damage.
#include "persistent-data/read/btree_walk.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <numeric>

#include "persistent-data/testing/blocks.h"
#include "persistent-data/testing/scratch_device.h"

namespace persistent_data {
namespace {

using test::damage_log;
using test::layout;
using test::reader;
using test::scratch_device;

using entries = std::vector<std::pair<std::uint64_t, le64>>;

// Keys with gaps between them; a value that tells its key.
entries some_entries(std::uint64_t n) {
  entries made;
  for (std::uint64_t i = 0; i < n; ++i) made.emplace_back(10 + 3 * i, i * i + 7);
  return made;
}

struct seen {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> entries;
  std::vector<std::uint64_t> leaves;
  std::vector<range> lost;
  damage_log damages;
};

seen walk(reader& r, block_nr root, std::optional<block_nr> from = {}) {
  seen s;
  r.walk.walk(from, root, sizeof(le64),
              {[&](block_nr where, const node_view& node) {
                 s.leaves.push_back(where.value);
                 for (std::uint32_t i = 0; i < node.size(); ++i)
                   s.entries.emplace_back(node.key(i), node.value<le64>(i));
               },
               [&](range keys) { s.lost.push_back(keys); }, s.damages.sink()});
  return s;
}

std::vector<std::uint64_t> numbers(const std::vector<block_nr>& blocks) {
  std::vector<std::uint64_t> plain;
  for (const block_nr b : blocks) plain.push_back(b.value);
  return plain;
}

class BtreeWalk : public testing::TestWithParam<engine_choice> {
 protected:
  // Lays the tree, walks it, and expects all of it.
  void expect_whole(const entries& wanted, test::node_fill fill, std::size_t levels) {
    scratch_device device(3000);
    layout lay(device);
    const auto tree = lay.btree(wanted, fill);
    ASSERT_EQ(tree.levels.size(), levels);
    reader r(device, GetParam());
    const seen s = walk(r, tree.root);
    EXPECT_EQ(s.damages.text(), "");
    EXPECT_TRUE(s.lost.empty());
    EXPECT_EQ(s.leaves, numbers(tree.levels.back()));
    EXPECT_EQ(s.entries, decltype(s.entries)(wanted.begin(), wanted.end()));
    for (std::uint64_t b = 0; b < device.nr_blocks(); ++b)
      ASSERT_EQ(r.counter.references({b}), b < lay.nr_taken() ? 1u : 0u) << b;
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, BtreeWalk,
                         testing::Values(engine_choice::sync, engine_choice::aio,
                                         engine_choice::uring),
                         [](const auto& p) {
                           return p.param == engine_choice::sync  ? "sync"
                                  : p.param == engine_choice::aio ? "aio"
                                                                  : "uring";
                         });

TEST_P(BtreeWalk, AnEmptyRootIsAnEmptyLeaf) { expect_whole({}, {}, 1); }

TEST_P(BtreeWalk, OneLevel) {
  expect_whole(some_entries(1), {}, 1);
  expect_whole(some_entries(252), {}, 1);
}

TEST_P(BtreeWalk, TwoLevels) {
  expect_whole(some_entries(253), {}, 2);
  expect_whole(some_entries(60000), {}, 2);
}

TEST_P(BtreeWalk, ThreeLevels) { expect_whole(some_entries(500), {20, 5}, 3); }

TEST_P(BtreeWalk, TenLevels) { expect_whole(some_entries(1024), {2, 2}, 10); }

// A batch holds 256 nodes.
TEST_P(BtreeWalk, MoreNodesThanABatch) {
  for (const std::uint64_t leaves : {255u, 256u, 257u, 511u, 512u, 513u, 1500u}) {
    SCOPED_TRACE(leaves);
    expect_whole(some_entries(2 * leaves), {2, 100}, leaves <= 100 ? 2 : 3);
  }
}

// Children in the opposite order of their blocks: leaves come by key, not by place.
TEST_P(BtreeWalk, OrderIsTheKeys) {
  scratch_device device(700);
  std::vector<std::uint64_t> keys[3], expected;
  std::vector<block_nr> children[3];
  for (std::uint64_t i = 0; i < 600; ++i) {
    const block_nr where{699 - i};
    device[where] = test::make_leaf<le64>(where, {i}, {i});
    keys[i / 200].push_back(i);
    children[i / 200].push_back(where);
    expected.push_back(where.value);
  }
  for (std::uint64_t i = 0; i < 3; ++i)
    device[{1 + i}] = test::make_internal({1 + i}, keys[i], children[i]);
  device[{5}] = test::make_internal({5}, {0, 200, 400}, {{1}, {2}, {3}});
  reader r(device, GetParam());
  const seen s = walk(r, {5});
  EXPECT_EQ(s.damages.text(), "");
  EXPECT_EQ(s.leaves, expected);
}

// After its lowest keys were removed, a node's parent still has the old one.
TEST_P(BtreeWalk, ALowestKeyAboveTheParentsIsSound) {
  scratch_device device(10);
  device[{1}] = test::make_internal({1}, {0, 100}, {{2}, {3}});
  device[{2}] = test::make_leaf<le64>({2}, {40, 99}, {0, 0});
  device[{3}] = test::make_leaf<le64>({3}, {100}, {0});
  reader r(device, GetParam());
  const seen s = walk(r, {1});
  EXPECT_EQ(s.damages.text(), "");
  EXPECT_EQ(s.leaves, (std::vector<std::uint64_t>{2, 3}));
}

// One walk serves many trees, of other value sizes too.
TEST_P(BtreeWalk, OneAfterTheOther) {
  scratch_device device(3000);
  layout lay(device);
  const auto large = lay.btree(some_entries(2000), {3, 9});
  const auto small = lay.btree(some_entries(5));
  const auto counts = lay.btree<le32>({{4, 9}, {5, 8}}, {1, 2});
  reader r(device, GetParam());
  EXPECT_EQ(walk(r, large.root).entries.size(), 2000u);
  EXPECT_EQ(walk(r, small.root).entries.size(), 5u);
  std::uint32_t sum = 0;
  r.walk.walk({}, counts.root, sizeof(le32),
              {[&](block_nr, const node_view& node) { sum += node.value<le32>(0); },
               [](range) { FAIL(); }, [](const block_error& d) { FAIL() << d.error.text; }});
  EXPECT_EQ(sum, 17u);
}

TEST(Examine, ABlockThatCannotBeRead) {
  const auto wrong = validate(btree_node_kind, nullptr, EIO, {4});
  ASSERT_TRUE(wrong);
  EXPECT_EQ(wrong->type, error_class::io_error);
  EXPECT_EQ(wrong->text, "the block cannot be read: Input/output error");
}

TEST(Examine, ABlockThatIsRead) {
  const block b = test::make_leaf<le64>({4}, {}, {});
  EXPECT_FALSE(validate(btree_node_kind, &b, 0, {4}));
  EXPECT_EQ(validate(btree_node_kind, &b, 0, {5})->type, error_class::wrong_place);
}

TEST(Examine, APointer) {
  EXPECT_FALSE(validate(reach_result::first, {7}));
  EXPECT_EQ(validate(reach_result::again, {7})->type, error_class::cross_linked);
  const auto past = validate(reach_result::outside, {7});
  EXPECT_EQ(past->type, error_class::bad_pointer);
  EXPECT_EQ(past->text, "it points to block 7, past the metadata's end");
  const auto superblock = validate(reach_result::outside, {0});
  EXPECT_EQ(superblock->type, error_class::bad_pointer);
  EXPECT_EQ(superblock->text, "it points to the superblock");
}

}  // namespace
}  // namespace persistent_data
