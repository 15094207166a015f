// SPDX-License-Identifier: GPL-3.0-or-later
// Counts in memory, and the blocks that they are written to. transaction_test.cc tests commits.
#include "persistent-data/transaction/space_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include "persistent-data/format/node_editor.h"
#include "persistent-data/testing/blocks.h"
#include "persistent-data/testing/recording_store.h"

namespace persistent_data {
namespace {

using test::recording_store;
using test::scratch_device;
using ::testing::HasSubstr;

class CountedBlocks : public ::testing::Test {
 protected:
  void commit() {
    root_ = counts_.write();
    cache_.write_dirty();
    counts_.committed();
  }
  space_map_editor loaded() {
    cache_.clear();
    return space_map_editor::load(cache_, root_);
  }

  static constexpr std::uint64_t nr_blocks = 200;
  scratch_device disk_{nr_blocks};
  recording_store store_{disk_};
  block_cache cache_{store_, 64};
  space_map_editor counts_ = space_map_editor::make(cache_);
  disk_sm_root root_{};
};

TEST_F(CountedBlocks, CountPastAByte) {
  const block_nr b = counts_.allocate();
  for (std::uint32_t n = 2; n <= 600; ++n) {
    counts_.increment(b);
    ASSERT_EQ(counts_.count(b), n);
    if (n % 50 == 3 || (n > 252 && n < 258)) {
      commit();
      ASSERT_EQ(loaded().count(b), n);
    }
  }
  for (std::uint32_t n = 600; n-- > 0;) {
    ASSERT_EQ(counts_.decrement(b), n);
    ASSERT_EQ(counts_.count(b), n);
    if (n % 50 == 3 || n < 5 || (n > 252 && n < 258)) {
      commit();
      ASSERT_EQ(loaded().count(b), n);
    }
  }
  EXPECT_EQ(loaded().nr_used(), counts_.nr_used());
}

TEST_F(CountedBlocks, WhatIsFreeHasNoReferences) {
  EXPECT_THROW(counts_.decrement({9}), damaged_metadata);
  EXPECT_THROW(counts_.increment({9}), damaged_metadata);
  EXPECT_THROW(counts_.decrement({nr_blocks}), damaged_metadata);
  EXPECT_THROW(counts_.count({nr_blocks}), damaged_metadata);
  EXPECT_EQ(counts_.count({9}), 0u);
  EXPECT_EQ(counts_.nr_used(), 1u);
}

TEST_F(CountedBlocks, EachBlockIsAllocatedOnceAndThenThereIsNoSpace) {
  std::set<std::uint64_t> all;
  for (std::uint64_t i = 1; i < nr_blocks; ++i) {
    const block_nr b = counts_.allocate();
    EXPECT_TRUE(counts_.is_new(b));
    all.insert(b.value);
  }
  EXPECT_EQ(all.size(), nr_blocks - 1);
  EXPECT_FALSE(all.contains(0));
  EXPECT_EQ(counts_.nr_used(), nr_blocks);
  EXPECT_THROW(counts_.allocate(), no_space);
  EXPECT_THROW(counts_.write(), no_space);
  // One that is new and was freed again can be had at once.
  counts_.decrement({77});
  EXPECT_EQ(counts_.allocate().value, 77u);
}

TEST_F(CountedBlocks, WhatWasCommittedIsNotReusedBeforeTheNextCommit) {
  const block_nr b = counts_.allocate();
  commit();
  EXPECT_FALSE(counts_.is_new(b));
  EXPECT_EQ(counts_.decrement(b), 0u);
  try {
    for (;;) EXPECT_NE(counts_.allocate(), b);
  } catch (const no_space&) {
  }
  counts_ = loaded();
  counts_.decrement(b);
  commit();
  bool reused = false;
  try {
    while (!reused) reused = counts_.allocate() == b;
  } catch (const no_space&) {
  }
  EXPECT_TRUE(reused);
}

TEST_F(CountedBlocks, OnlyWhatFitsTheDeviceIsLoaded) {
  commit();
  disk_sm_root wrong = root_;
  for (const std::uint64_t blocks : {std::uint64_t{0}, nr_blocks + 1, ~std::uint64_t{0}}) {
    wrong.nr_blocks = blocks;
    EXPECT_THROW(space_map_editor::load(cache_, wrong), damaged_metadata) << blocks;
  }
  wrong = root_;
  wrong.bitmap_root = root_.ref_count_root;
  EXPECT_THROW(space_map_editor::load(cache_, wrong), damaged_metadata);
  EXPECT_EQ(loaded().nr_used(), counts_.nr_used());
}

// A count of three that the tree does not have, a root that is no root.
TEST_F(CountedBlocks, BitmapsAndTreeHaveToAgree) {
  const block_nr b = counts_.allocate();
  commit();
  const disk_sm_root without = root_;
  counts_.increment(b);
  counts_.increment(b);
  commit();
  EXPECT_EQ(loaded().count(b), 3u);
  disk_sm_root mixed = root_;
  mixed.ref_count_root = without.ref_count_root;
  cache_.clear();
  EXPECT_THROW(space_map_editor::load(cache_, mixed), damaged_metadata);
  mixed = without;
  mixed.ref_count_root = root_.ref_count_root;
  cache_.clear();
  EXPECT_THROW(space_map_editor::load(cache_, mixed), damaged_metadata);
}

// One more would count the block as free, though it is in use.
TEST_F(CountedBlocks, TheLargestCountIsNotIncremented) {
  const block_nr b = counts_.allocate();
  counts_.increment(b);
  counts_.increment(b);
  commit();
  const block_nr leaf{root_.ref_count_root};
  *reinterpret_cast<le32*>(node_editor(disk_[leaf]).value(0)) =
      std::numeric_limits<std::uint32_t>::max();
  prepare_for_write(btree_node_kind, disk_[leaf], leaf);
  counts_ = loaded();
  EXPECT_THROW(counts_.increment(b), damaged_metadata);
  EXPECT_EQ(counts_.count(b), std::numeric_limits<std::uint32_t>::max());
  EXPECT_EQ(counts_.decrement(b), std::numeric_limits<std::uint32_t>::max() - 1);
}

// On disk, a bitmap counts blocks past the end of the device and the index is wrong about it: the
// next commit puts both right.
TEST_F(CountedBlocks, WhatLiesPastTheEndIsFree) {
  commit();
  auto& index = disk_[{root_.bitmap_root}].as<index_block>();
  const block_nr where{index.entries[0].blocknr};
  for (const std::uint32_t past : {std::uint32_t{nr_blocks}, counts_per_bitmap - 1})
    set_count(disk_[where].as<bitmap_block>(), past, 1);
  prepare_for_write(space_map_bitmap_kind, disk_[where], where);
  index.entries[0].nr_free = 7;
  index.entries[0].none_free_before = 150;
  prepare_for_write(space_map_index_kind, disk_[{root_.bitmap_root}], {root_.bitmap_root});

  counts_ = loaded();
  EXPECT_EQ(counts_.nr_used(), root_.nr_allocated);
  counts_.allocate();
  commit();
  const auto& entry = disk_[{root_.bitmap_root}].as<index_block>().entries[0];
  EXPECT_EQ(entry.nr_free, counts_per_bitmap - root_.nr_allocated);
  EXPECT_LT(entry.none_free_before, 10u);
  EXPECT_EQ(counts_.count({entry.none_free_before}), 0u);
  const auto& bitmap = disk_[{entry.blocknr}].as<bitmap_block>();
  for (std::uint32_t k = nr_blocks; k < counts_per_bitmap; ++k) ASSERT_EQ(count_at(bitmap, k), 0u);
}

// The root of the tree is an intact block, and no root of a tree of counts.
TEST_F(CountedBlocks, ATreeOfAnotherShapeIsNotLoaded) {
  const auto error_of_load = [&]() -> std::string {
    cache_.clear();
    try {
      space_map_editor::load(cache_, root_);
      return "";
    } catch (const damaged_metadata& e) {
      return e.what();
    }
  };
  commit();
  EXPECT_EQ(error_of_load(), "");
  constexpr block_nr where{150};
  root_.ref_count_root = where.value;
  disk_[where] = test::make_leaf<le64>(where, {7}, {3});
  EXPECT_THAT(error_of_load(), HasSubstr("store: metadata block 150: "));
  // A node that is its own child has no bottom.
  disk_[where] = test::make_internal(where, {0}, {where});
  EXPECT_THAT(error_of_load(), HasSubstr("store: metadata block 150: too deep"));
}

// As for the blocks that many snapshots share: their counts take several leaves. The nodes of the
// tree that was there before become free, so that the tree can be built again and again.
TEST(LargeCounts, FillATreeOfSeveralLeaves) {
  constexpr std::uint64_t nr_shared = 1000;
  scratch_device disk(2 * nr_shared);
  recording_store store(disk);
  block_cache cache(store, 64);
  space_map_editor counts = space_map_editor::make(cache);
  disk_sm_root root{};
  const auto commit = [&] {
    root = counts.write();
    cache.write_dirty();
    counts.committed();
  };
  std::vector<block_nr> shared;
  for (std::uint32_t i = 0; i < nr_shared; ++i) {
    shared.push_back(counts.allocate());
    for (std::uint32_t n = 1; n < 3 + i; ++n) counts.increment(shared.back());
  }
  commit();
  const std::uint64_t used = counts.nr_used();
  for (int round = 0; round < 3; ++round) {
    counts.increment(shared[500]);
    commit();
    EXPECT_EQ(counts.nr_used(), used);
  }
  cache.clear();
  const space_map_editor loaded = space_map_editor::load(cache, root);
  for (std::uint32_t i = 0; i < nr_shared; ++i)
    ASSERT_EQ(loaded.count(shared[i]), 3 + i + (i == 500 ? 3 : 0)) << shared[i].value;
  EXPECT_EQ(loaded.nr_used(), used);
  const node_view top(disk[block_nr{root.ref_count_root}]);
  EXPECT_FALSE(top.is_leaf());
  EXPECT_EQ(top.size(), 3u);
}

// A bitmap that moves changes the counts of its old and its new place, and other bitmaps may hold
// those: what is on the device afterwards is what is in memory.
TEST(SeveralBitmaps, AreWrittenUntilNoneHasChanged) {
  constexpr unsigned seed = 1;
  SCOPED_TRACE(fmt::format("seed {}", seed));
  constexpr std::uint64_t nr_blocks = 5 * counts_per_bitmap / 2;
  scratch_device disk(nr_blocks);
  recording_store store(disk);
  block_cache cache(store, 64);
  space_map_editor counts = space_map_editor::make(cache);
  std::mt19937 random(seed);
  const auto allocate = [&](std::uint64_t n) {
    std::vector<block_nr> blocks;
    while (blocks.size() < n) blocks.push_back(counts.allocate());
    return blocks;
  };

  std::vector<block_nr> kept;  // all over the device
  for (const block_nr b : allocate(nr_blocks - 100))
    b.value % 50 == 0 ? kept.push_back(b) : void(counts.decrement(b));
  std::size_t again = 0;
  for (int round = 0; round < 600; ++round) {
    // Mostly the count of one block changes; now and then the next free blocks are elsewhere.
    if (round % 8 == 0)
      for (const block_nr b : allocate(random() % counts_per_bitmap)) counts.decrement(b);
    else if (round % 8 == 4)
      kept.erase(std::find_if(kept.begin(), kept.end(), [&](block_nr b) {
        return counts.count(b) == 1 && counts.decrement(b) == 0;
      }));
    else if (const block_nr b = kept[random() % kept.size()]; counts.count(b) == 1)
      counts.increment(b);
    else
      counts.decrement(b);
    store.records = true;
    store.recorded.clear();
    const disk_sm_root root = counts.write();
    cache.write_dirty();
    counts.committed();
    block_cache other(store, 64);
    const space_map_editor loaded = space_map_editor::load(other, root);
    for (std::uint64_t b = 0; b < nr_blocks; ++b)
      ASSERT_EQ(loaded.count({b}), counts.count({b})) << "round " << round << ", block " << b;
    ASSERT_EQ(root.nr_allocated, counts.nr_used());
    const auto index = other.read(space_map_index_kind, {root.bitmap_root});
    for (std::uint32_t i = 0; i < bitmaps_for(nr_blocks); ++i) {
      std::uint32_t nr_free = 0, first_free = counts_per_bitmap;
      for (std::uint32_t k = counts_per_bitmap; k-- > 0;)
        if (const std::uint64_t b = std::uint64_t{i} * counts_per_bitmap + k;
            b >= nr_blocks || counts.count({b}) == 0)
          ++nr_free, first_free = k;
      const index_entry& entry = index->content.as<index_block>().entries[i];
      ASSERT_EQ(entry.nr_free, nr_free) << "round " << round << ", bitmap " << i;
      ASSERT_EQ(entry.none_free_before, first_free) << "round " << round << ", bitmap " << i;
    }
    // The index, the bitmap of the block, and that of their places: more are those that others have
    // changed. None is written twice.
    std::set<std::uint64_t> written;
    for (const auto& e : store.recorded)
      ASSERT_TRUE(written.insert(e.where.value).second) << "block " << e.where.value;
    again += round % 4 != 0 && written.size() > 3;
  }
  EXPECT_GT(again, 10u);
}

}  // namespace
}  // namespace persistent_data
