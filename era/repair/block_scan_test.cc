// SPDX-License-Identifier: GPL-3.0-or-later
// Classes of single blocks, and the places that leaves give to array blocks.
#include "era/repair/block_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "persistent-data/testing/blocks.h"
#include "persistent-data/testing/scratch_device.h"

namespace era {
namespace {

using pd::block_nr;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint32_t two_stripes = 2 * bits_per_bitset_block;
constexpr std::uint64_t first = 10, nr_metadata_blocks = 40;

class BlockScan : public ::testing::Test {
 protected:
  void put_leaf(std::uint64_t where, const std::vector<std::uint64_t>& keys,
                const std::vector<std::uint64_t>& children) {
    std::vector<pd::le64> values(children.begin(), children.end());
    device_[{where}] = pd::test::make_leaf<pd::le64>({where}, keys, values);
  }
  void put_bits(std::uint64_t where, std::uint64_t word) {
    device_[{where}] =
        pd::test::make_array_block<pd::le64>({where}, std::vector<pd::le64>(3, word));
  }
  void put_eras(std::uint64_t where) {
    device_[{where}] = pd::test::make_array_block<pd::le32>({where}, std::vector<pd::le32>(3, 7));
  }

  block_scan& scan_all() {
    scan_.emplace(opened_);
    scan_->scan_all([] {});
    return *scan_;
  }
  block_class class_of(std::uint64_t where) { return scan_all().class_of({where}); }

  static std::vector<std::pair<std::uint64_t, std::uint64_t>> places(const stray_blocks& blocks) {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> result;
    for (const auto& e : blocks.of({0, max_origin_blocks})) result.push_back({e.index, e.block});
    return result;
  }

  pd::test::scratch_device device_{nr_metadata_blocks};
  pd::block_device opened_ = device_.open();
  std::optional<block_scan> scan_;
};

TEST_F(BlockScan, TellsBrokenBlocksFromThoseThatSayWhatCannotBe) {
  EXPECT_EQ(class_of(first), block_class::zero);
  put_bits(first, 1);
  EXPECT_EQ(class_of(first), block_class::bits);
  device_.damage_block({first});
  EXPECT_EQ(class_of(first), block_class::invalid);
  put_leaf(first, {0, 1}, {20, 21});
  EXPECT_EQ(class_of(first), block_class::array_leaf);
  const std::vector<std::vector<std::uint64_t>> wrong_children = {
      {20, 0}, {20, nr_metadata_blocks}, {20, first}, {20, 20}};
  for (const auto& children : wrong_children) {
    put_leaf(first, {0, 1}, children);
    EXPECT_EQ(class_of(first), block_class::impossible) << children[1];
  }
  put_leaf(first, {0, 2}, {20, 21});  // an array has no gaps
  EXPECT_EQ(class_of(first), block_class::impossible);
  device_[{first}] = pd::test::make_internal({first}, {0, 2}, {{20}, {21}});
  EXPECT_EQ(class_of(first), block_class::internal_node);
  put_bits(first, 1);
  pd::test::change_and_prepare<pd::array_header>(pd::array_block_kind, device_[{first}], {first},
                                                 [](auto& header) { header.value_size = 5; });
  EXPECT_EQ(class_of(first), block_class::impossible);
}

TEST_F(BlockScan, LeavesGiveBlocksTheirPlaces) {
  put_leaf(first, {0, 1}, {20, 21});
  put_leaf(first + 1, {0}, {22});
  put_bits(20, 1);
  put_bits(21, 2);
  put_eras(22);
  const auto placed = scan_all().place(two_stripes);
  EXPECT_THAT(places(placed.bits), ElementsAre(std::pair(0, 20), std::pair(1, 21)));
  EXPECT_THAT(places(placed.eras), ElementsAre(std::pair(0, 22)));
  EXPECT_THAT(placed.unplaced_bits, IsEmpty());
  EXPECT_THAT(placed.unplaced_eras, IsEmpty());
  EXPECT_THAT(placed.lost_bits, ElementsAre(false, false));
  EXPECT_TRUE(placed.is_complete);
}

TEST_F(BlockScan, APlaceThatCannotBeIsNone) {
  put_leaf(first, {0, 1, 2}, {20, 21, 22});
  for (std::uint64_t b = 20; b <= 22; ++b) put_bits(b, 1);
  const auto placed = scan_all().place(two_stripes);
  EXPECT_THAT(places(placed.bits), ElementsAre(std::pair(0, 20), std::pair(1, 21)));
  EXPECT_THAT(placed.unplaced_bits, ElementsAre(block_nr{22}));
}

TEST_F(BlockScan, ALaterLeafNeedsAParentThatLeadsToItsFirstKey) {
  put_leaf(first, {1}, {20});
  put_bits(20, 1);
  const auto alone = scan_all().place(two_stripes);
  EXPECT_THAT(places(alone.bits), IsEmpty());
  EXPECT_THAT(alone.unplaced_bits, ElementsAre(block_nr{20}));
  device_[{30}] = pd::test::make_internal({30}, {0, 3}, {{31}, {first}});
  EXPECT_THAT(places(scan_all().place(two_stripes).bits), IsEmpty());
  device_[{30}] = pd::test::make_internal({30}, {0, 1}, {{31}, {first}});
  EXPECT_THAT(places(scan_all().place(two_stripes).bits), ElementsAre(std::pair(1, 20)));
}

TEST_F(BlockScan, ABrokenBlockIsLostAtItsPlaceIfItMayHaveBeenBits) {
  put_leaf(first, {0, 1}, {20, 21});
  put_bits(20, 1);  // 21 holds zeros
  EXPECT_THAT(scan_all().place(two_stripes).lost_bits, ElementsAre(false, true));
  put_eras(20);
  EXPECT_THAT(scan_all().place(two_stripes).lost_bits, ElementsAre(false, false));
}

TEST_F(BlockScan, ASoundBlockOfAnotherKindIsLostBitsToo) {
  put_leaf(first, {0, 1}, {20, 21});
  put_bits(20, 1);
  device_[{21}] = pd::test::make_bitmap({21}, {1, 1});
  EXPECT_THAT(scan_all().place(two_stripes).lost_bits, ElementsAre(false, true));
}

TEST_F(BlockScan, KnowsHowFarNodesLead) {
  EXPECT_EQ(scan_all().end_of_children(), 0u);
  put_leaf(first, {0, 1}, {20, 21});
  EXPECT_EQ(scan_all().end_of_children(), 22u);
  device_[{30}] = pd::test::make_internal({30}, {0, 1}, {{31}, {first}});
  EXPECT_EQ(scan_all().end_of_children(), 32u);
}

TEST_F(BlockScan, ScansWhatLeavesLeadTo) {
  put_leaf(first, {0}, {20});
  put_bits(20, 1);
  put_bits(21, 1);
  block_scan scan(opened_);
  const block_nr leaf{first};
  scan.scan(std::span(&leaf, 1), [] {});
  EXPECT_EQ(scan.class_of({20}), block_class::not_scanned);
  scan.scan_children([] {});
  EXPECT_EQ(scan.class_of({20}), block_class::bits);
  EXPECT_EQ(scan.class_of({21}), block_class::not_scanned);
}

// More writesets than collect() holds before it drops duplicates. All leaves name the same ones, or
// each names its own.
TEST(BlockScanOfMany, NamesEachWritesetOnceAndNotMoreThanThereIsRoomFor) {
  constexpr std::uint64_t per_leaf = pd::max_node_entries(sizeof(writeset_value));
  constexpr std::uint64_t nr_leaves = 3 * (1 << 16) / per_leaf;
  const auto collected = [&](std::uint64_t nr_blocks, bool are_different) {
    pd::test::scratch_device device(nr_blocks);
    std::vector<std::uint64_t> eras(per_leaf);
    std::vector<writeset_value> values(per_leaf);
    for (std::uint64_t leaf = 1; leaf <= nr_leaves; ++leaf) {
      for (std::uint64_t i = 0; i < per_leaf; ++i) {
        eras[i] = 1 + i + (are_different ? leaf * per_leaf : 0);
        values[i].nr_bits = i == 0 ? 0 : 1000;  // the first has no bits, and does not count
        values[i].root = 1;
      }
      device[{leaf}] = pd::test::make_leaf({leaf}, eras, values);
    }
    const pd::block_device opened = device.open();
    block_scan scan(opened);
    std::vector<block_nr> leaves;
    for (std::uint64_t leaf = 1; leaf <= nr_leaves; ++leaf) leaves.push_back({leaf});
    scan.scan(leaves, [] {});
    EXPECT_EQ(scan.all(block_class::writeset_leaf).size(), nr_leaves);
    std::vector<named_writeset> found;
    const bool all = scan.collect(found);
    EXPECT_EQ(std::set(found.begin(), found.end()).size(), found.size());
    return std::pair(all, found.size());
  };
  EXPECT_EQ(collected(2000, false), std::pair(true, per_leaf - 1));
  EXPECT_EQ(collected(1 << 19, true), std::pair(true, nr_leaves * (per_leaf - 1)));
  // 2000 blocks have room for 1000 bitsets of two blocks.
  const auto [all, size] = collected(2000, true);
  EXPECT_FALSE(all);
  EXPECT_LT(size, nr_leaves * (per_leaf - 1));
}

// The number of entries may lie: all that there is room for is read.
TEST_F(BlockScan, MergesBitsWhateverTheirNumber) {
  put_bits(20, 1);
  put_bits(21, 6);
  pd::test::change_and_prepare<pd::array_header>(pd::array_block_kind, device_[{20}], {20},
                                                 [](auto& header) { header.nr_entries = 0; });
  auto& scan = scan_all();
  const auto merged = scan.merge_bits(scan.all(block_class::bits));
  ASSERT_EQ(merged.size(), pd::max_array_entries(sizeof(pd::le64)));
  EXPECT_EQ(merged[2], 7u);
  EXPECT_EQ(merged[3], 0u);
  EXPECT_THAT(scan.merge_bits({}), IsEmpty());
  // One that can no longer be read may have had any.
  const auto blocks = scan.all(block_class::bits);
  device_.damage_block({21});
  EXPECT_THAT(scan.merge_bits(blocks), Each(~std::uint64_t{0}));
}

}  // namespace
}  // namespace era
