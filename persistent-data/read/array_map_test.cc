// SPDX-License-Identifier: GPL-3.0-or-later
// The maps of whole arrays, and of arrays that have lost blocks in every way. Each loss is told, in
// values.
#include "persistent-data/read/array_map.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <limits>

#include "persistent-data/testing/blocks.h"
#include "persistent-data/testing/scratch_device.h"

namespace persistent_data {
namespace {

using test::damage_log;
using test::layout;
using test::reader;
using test::scratch_device;

std::vector<le32> eras(std::uint64_t n) {
  std::vector<le32> values;
  for (std::uint64_t i = 0; i < n; ++i) values.emplace_back(static_cast<std::uint32_t>(i % 1000));
  return values;
}

// The blocks as a list, 0 for a lost one.
std::vector<std::uint64_t> list(const array_map& map) {
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t i = 0; i < map.nr_blocks(); ++i)
    numbers.push_back(map.block(i).value_or(block_nr{0}).value);
  return numbers;
}

using numbers = std::vector<std::uint64_t>;

TEST(ArrayMap, AWholeArray) {
  for (const std::uint64_t n : {1u, 1017u, 1018u, 1019u, 20360u, 40000u}) {
    SCOPED_TRACE(n);
    scratch_device device(200);
    layout lay(device);
    lay.take();
    const auto laid = lay.array(eras(n), {3, 4});
    for (const auto engine : {engine_choice::sync, engine_choice::aio, engine_choice::uring}) {
      reader r(device, engine);
      damage_log damages;
      const array_map map = map_array(r.walk, {}, laid.root(), {n, sizeof(le32)}, damages.sink());
      EXPECT_EQ(damages.text(), "");
      EXPECT_EQ(map.nr_values(), n);
      EXPECT_EQ(map.value_size(), 4u);
      ASSERT_EQ(map.nr_blocks(), laid.blocks.size());
      for (std::uint64_t i = 0; i < map.nr_blocks(); ++i) {
        ASSERT_EQ(map.block(i), laid.blocks[i]);
        EXPECT_EQ(map.values_of(i), (range{i * 1018, std::min((i + 1) * 1018, n)}));
        EXPECT_FALSE(map.validate_block(i, &device[laid.blocks[i]], 0));
      }
      EXPECT_EQ(map.block(map.nr_blocks()), std::nullopt);
      // Block 1 is nobody's; each other has one owner.
      EXPECT_EQ(r.counter.references({1}), 0u);
      for (std::uint64_t b = 2; b < lay.nr_taken(); ++b) EXPECT_EQ(r.counter.references({b}), 1u);
    }
  }
}

TEST(ArrayMap, AnEmptyArray) {
  scratch_device device(10);
  const auto laid = layout(device).array(eras(0));
  reader r(device);
  damage_log damages;
  const array_map map = map_array(r.walk, {}, laid.root(), {0, sizeof(le32)}, damages.sink());
  EXPECT_EQ(damages.text(), "");
  EXPECT_EQ(map.nr_blocks(), 0u);
  EXPECT_EQ(map.block(0), std::nullopt);
}

TEST(ArrayMap, NothingIsMappedByDefault) {
  EXPECT_EQ(array_map().nr_blocks(), 0u);
  EXPECT_EQ(array_map().block(0), std::nullopt);
}

// An array whose tree is a root, in block 1, that a test fills: with pairs of the index and the
// block of an array block. The array blocks themselves are not read.
class SmallArray : public testing::Test {
 protected:
  using pairs = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

  void map(const pairs& entries, std::uint64_t nr_values) {
    std::vector<std::uint64_t> keys;
    std::vector<le64> values;
    for (const auto& [key, value] : entries) keys.push_back(key), values.push_back(value);
    device[{1}] = test::make_leaf<le64>({1}, keys, values);
    reader_.emplace(device);
    mapped = map_array(reader_->walk, {}, {1}, {nr_values, sizeof(le32)}, damages.sink(), past_end);
  }
  std::uint32_t references(std::uint64_t b) const { return reader_->counter.references({b}); }

  scratch_device device{100};
  surplus_blocks past_end = surplus_blocks::damage;
  std::optional<reader> reader_;
  damage_log damages;
  array_map mapped;
};

TEST_F(SmallArray, AGapInTheTree) {
  map({{0, 50}, {1, 51}, {4, 54}}, 5 * 1018);
  EXPECT_EQ(list(mapped), (numbers{50, 51, 0, 0, 54}));
  EXPECT_EQ(mapped.known_end(), 5u);
  EXPECT_EQ(damages.text(),
            "1: missing [2036, 4072) the array has 5 blocks, and 2 of them from index 2 are not in "
            "its tree\n");
}

TEST_F(SmallArray, AGapAtTheBeginning) {
  map({{1, 51}}, 1019);
  EXPECT_EQ(list(mapped), (numbers{0, 51}));
  EXPECT_EQ(
      damages.text(),
      "1: missing [0, 1018) the array has 2 blocks, and 1 of them from index 0 are not in its "
      "tree\n");
}

// The last block is not full, and so hides less.
TEST_F(SmallArray, AGapAtTheEnd) {
  map({{0, 50}}, 2 * 1018 + 7);
  EXPECT_EQ(list(mapped), (numbers{50, 0, 0}));
  EXPECT_EQ(mapped.known_end(), 1u);
  EXPECT_EQ(damages.text(),
            "1: missing [1018, 2043) the array has 3 blocks, and 2 of them from index 1 are not in "
            "its tree\n");
}

TEST_F(SmallArray, AnEmptyTree) {
  map({}, 3000);
  EXPECT_EQ(list(mapped), (numbers{0, 0, 0}));
  EXPECT_EQ(mapped.known_end(), 0u);
  EXPECT_EQ(damages.all.size(), 1u);
  EXPECT_EQ(damages.all.at(0).hidden, (range{0, 3000}));
}

// They hide nothing, but they are referred to.
TEST_F(SmallArray, Surplus) {
  map({{0, 50}, {1, 51}, {2, 52}, {9, 59}}, 2 * 1018);
  EXPECT_EQ(list(mapped), (numbers{50, 51}));
  EXPECT_EQ(
      damages.text(),
      "1: bad-shape [0, 0) the array's tree has a block of index 2, and 2036 values need only "
      "2\n");
  for (const std::uint64_t b : {50u, 51u, 52u, 59u}) EXPECT_EQ(references(b), 1u) << b;
}

// A kernel leaves them when it makes an array smaller; then only their pointers have to be right.
TEST_F(SmallArray, SurplusLeftByShrinking) {
  past_end = surplus_blocks::left_by_shrinking;
  map({{0, 50}, {1, 51}, {2, 52}, {9, 59}}, 2 * 1018);
  EXPECT_EQ(list(mapped), (numbers{50, 51}));
  EXPECT_EQ(damages.text(), "");
  for (const std::uint64_t b : {50u, 51u, 52u, 59u}) EXPECT_EQ(references(b), 1u) << b;
}

TEST_F(SmallArray, SurplusThatIsNoBlockOfItsOwn) {
  past_end = surplus_blocks::left_by_shrinking;
  map({{0, 50}, {5, 50}, {6, 100}}, 500);
  EXPECT_EQ(list(mapped), (numbers{50}));
  ASSERT_EQ(damages.all.size(), 2u);
  for (const auto& d : damages.all) EXPECT_EQ(d.hidden, range{});
}

TEST_F(SmallArray, SurplusAndAGap) {
  map({{0, 50}, {5, 55}}, 2 * 1018);
  EXPECT_EQ(list(mapped), (numbers{50, 0}));
  ASSERT_EQ(damages.all.size(), 2u);
  EXPECT_EQ(damages.all[0].error.type, error_class::bad_shape);
  EXPECT_EQ(damages.all[1].error.type, error_class::missing);
  EXPECT_EQ(damages.all[1].hidden, (range{1018, 2036}));
}

TEST_F(SmallArray, SurplusOfAnEmptyArray) {
  map({{0, 50}}, 0);
  EXPECT_EQ(list(mapped), numbers{});
  EXPECT_EQ(damages.text(),
            "1: bad-shape [0, 0) the array's tree has a block of index 0, and 0 values need only "
            "0\n");
}

TEST_F(SmallArray, PointersThatAreNone) {
  map({{0, 0}, {1, 51}, {2, 100}, {3, 1}, {4, 51}, {5, 99}}, 5 * 1018 + 1);
  EXPECT_EQ(list(mapped), (numbers{0, 51, 0, 0, 0, 99}));
  EXPECT_EQ(damages.text(),
            "1: bad-pointer [0, 1018) it points to the superblock\n"
            "1: bad-pointer [2036, 3054) it points to block 100, past the metadata's end\n"
            "1: cross-linked [3054, 4072) it points to block 1, which something else owns\n"
            "1: cross-linked [4072, 5090) it points to block 51, which something else owns\n");
  EXPECT_EQ(references(51), 2u);
}

// Four thousand million values in a hundred blocks: nothing is sized by that.
TEST_F(SmallArray, AnImplausibleLength) {
  for (const std::uint64_t n :
       {std::uint64_t{100 * 1018 + 1}, std::uint64_t{1} << 32, std::uint64_t{1} << 62,
        std::numeric_limits<std::uint64_t>::max()}) {
    damages.all.clear();
    map({{0, 50}}, n);
    ASSERT_EQ(damages.all.size(), 1u) << n;
    EXPECT_EQ(damages.all[0].block, block_nr{0});
    EXPECT_EQ(damages.all[0].error.type, error_class::bad_value);
    EXPECT_EQ(damages.all[0].hidden, (range{0, n}));
    EXPECT_EQ(mapped.nr_values(), n);
    EXPECT_EQ(mapped.block(0), std::nullopt);
    EXPECT_EQ(mapped.block(mapped.nr_blocks() - 1), std::nullopt);
  }
  damages.all.clear();
  map({{0, 50}}, 100 * 1018);
  EXPECT_EQ(damages.all.at(0).error.type, error_class::missing);
}

TEST_F(SmallArray, AnImplausibleLengthIsToldWhereItWasFound) {
  reader r(device);
  map_array(r.walk, block_nr{7}, {1}, {std::uint64_t{1} << 32, sizeof(le32)}, damages.sink());
  EXPECT_EQ(damages.all.at(0).block, block_nr{7});
}

TEST_F(SmallArray, ExaminesABlockAsItArrives) {
  map({{0, 50}, {1, 51}}, 1018 + 3);
  const block full = test::make_array_block({50}, eras(1018)),
              end = test::make_array_block({51}, eras(3));
  const auto what = [&](std::uint64_t i, const block& b) {
    return mapped.validate_block(i, &b, 0);
  };
  EXPECT_FALSE(what(0, full));
  EXPECT_FALSE(what(1, end));
  EXPECT_EQ(what(1, full)->type, error_class::wrong_place);
  EXPECT_EQ(what(0, test::make_array_block({50}, eras(1017)))->type, error_class::bad_shape);
  EXPECT_EQ(what(1, test::make_array_block({51}, eras(1018)))->type, error_class::bad_shape);
  EXPECT_EQ(what(0, test::make_array_block({50}, std::vector<le64>(509)))->type,
            error_class::bad_shape);
  EXPECT_EQ(what(0, test::make_leaf<le64>({50}, {}, {}))->type, error_class::wrong_kind);
  EXPECT_EQ(what(0, block{})->type, error_class::bad_checksum);
  EXPECT_EQ(mapped.validate_block(0, nullptr, EIO)->type, error_class::io_error);
}

// 27 array blocks in blocks 1 to 27, the last with 10 values; leaves of three in 28 to 36, nodes of
// three leaves in 37 to 39, and the root.
class DamagedArray : public testing::Test {
 protected:
  static constexpr std::uint64_t nr_values = 26 * 1018 + 10;

  DamagedArray() { laid = layout(device).array(eras(nr_values), {3, 3}); }

  // With these blocks of the tree lost, the array blocks at these indices are.
  void expect_lost(const std::vector<block_nr>& damaged, range indices, range values) {
    for (const block_nr b : damaged) device.damage_block(b);
    reader r(device);
    damage_log damages;
    const array_map map =
        map_array(r.walk, {}, laid.root(), {nr_values, sizeof(le32)}, damages.sink());
    for (std::uint64_t i = 0; i < 27; ++i)
      EXPECT_EQ(map.block(i).has_value(), i < indices.begin || i >= indices.end) << i;
    // Each damage once, and together they hide just that.
    ASSERT_EQ(damages.all.size(), damaged.size()) << damages.text();
    range hidden = damages.all[0].hidden;
    for (std::size_t i = 1; i < damages.all.size(); ++i) {
      EXPECT_EQ(damages.all[i].hidden.begin, hidden.end);
      hidden.end = damages.all[i].hidden.end;
    }
    EXPECT_EQ(hidden, values);
  }

  scratch_device device{60};
  test::laid_array laid;
};

TEST_F(DamagedArray, ALostLeaf) {
  expect_lost({laid.tree.levels[2][2]}, {6, 9}, {6 * 1018, 9 * 1018});
}
TEST_F(DamagedArray, TheFirstLeaf) { expect_lost({laid.tree.levels[2][0]}, {0, 3}, {0, 3 * 1018}); }
TEST_F(DamagedArray, TheLastLeaf) {
  expect_lost({laid.tree.levels[2][8]}, {24, 27}, {24 * 1018, nr_values});
}
TEST_F(DamagedArray, NeighbouringLeaves) {
  expect_lost({laid.tree.levels[2][4], laid.tree.levels[2][5], laid.tree.levels[2][6]}, {12, 21},
              {12 * 1018, 21 * 1018});
}
TEST_F(DamagedArray, ALostNode) {
  expect_lost({laid.tree.levels[1][1]}, {9, 18}, {9 * 1018, 18 * 1018});
}
TEST_F(DamagedArray, TheLastNode) {
  expect_lost({laid.tree.levels[1][2]}, {18, 27}, {18 * 1018, nr_values});
}
TEST_F(DamagedArray, ALostRoot) { expect_lost({laid.root()}, {0, 27}, {0, nr_values}); }

// A tree that is longer than the array: a loss past the array's end hides nothing.
TEST_F(DamagedArray, BehindTheArraysEnd) {
  device.damage_block(laid.tree.levels[1][2]);
  reader r(device);
  damage_log damages;
  const array_map map =
      map_array(r.walk, {}, laid.root(), {18 * 1018, sizeof(le32)}, damages.sink());
  EXPECT_EQ(map.block(17), laid.blocks[17]);
  ASSERT_EQ(damages.all.size(), 1u) << damages.text();
  EXPECT_TRUE(damages.all[0].hidden.empty());
}

// Index 6 is not in the tree, and a leaf after it is lost: each is told for its part.
TEST_F(DamagedArray, AGapBeforeALostLeaf) {
  const block_nr leaf = laid.tree.levels[2][2], node = laid.tree.levels[1][0];
  device[leaf] = test::make_leaf<le64>(leaf, {7, 8}, {laid.blocks[7].value, laid.blocks[8].value});
  device[node] =
      test::make_internal(node, {0, 3, 7}, {laid.tree.levels[2][0], laid.tree.levels[2][1], leaf});
  device.damage_block(leaf);
  reader r(device);
  damage_log damages;
  const array_map map =
      map_array(r.walk, {}, laid.root(), {nr_values, sizeof(le32)}, damages.sink());
  for (std::uint64_t i = 0; i < 27; ++i) EXPECT_EQ(map.block(i).has_value(), i < 6 || i >= 9) << i;
  ASSERT_EQ(damages.all.size(), 2u) << damages.text();
  EXPECT_EQ(damages.all[0].error.type, error_class::bad_checksum);
  EXPECT_EQ(damages.all[0].hidden, (range{7 * 1018, 9 * 1018}));
  EXPECT_EQ(damages.all[1].error.type, error_class::missing);
  EXPECT_EQ(damages.all[1].hidden, (range{6 * 1018, 7 * 1018}));
}

}  // namespace
}  // namespace persistent_data
