// SPDX-License-Identifier: GPL-3.0-or-later
// Blocks in use stay in the cache, dirty blocks are written once, and failures lose nothing.
#include "persistent-data/transaction/block_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "persistent-data/format/array_block.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/testing/recording_store.h"

namespace persistent_data {
namespace {

using test::recording_store;
using test::scratch_device;
using ::testing::HasSubstr;

class BlockCache : public ::testing::Test {
 protected:
  static constexpr std::size_t capacity = 8;

  void make(std::uint64_t where, std::uint32_t value) {
    cache_.create(array_block_kind, {where})->content.as<array_header>().nr_entries = value;
  }
  std::uint32_t value(std::uint64_t where) {
    return cache_.read(array_block_kind, {where})->content.as<array_header>().nr_entries;
  }
  std::size_t writes_of(std::uint64_t where) const {
    std::size_t n = 0;
    for (const auto& e : store_.recorded) n += e.content && e.where.value == where;
    return n;
  }
  void expect_damage(const block_kind& kind, std::uint64_t where, const char* text) {
    try {
      cache_.read(kind, {where});
      ADD_FAILURE() << "read block " << where;
    } catch (const damaged_metadata& e) {
      EXPECT_THAT(e.what(), HasSubstr(text));
    }
  }

  scratch_device disk_{100};
  recording_store store_{disk_};
  block_cache cache_{store_, capacity};
};

TEST_F(BlockCache, KeepsNoMoreThanItsCapacity) {
  store_.records = true;
  for (std::uint32_t b = 1; b < 100; ++b) {
    make(b, b);
    ASSERT_LE(cache_.size(), capacity);
  }
  // Each block that had to go was written before.
  EXPECT_GE(store_.recorded.size(), 99 - capacity);
  for (std::uint32_t b = 1; b < 100; ++b) ASSERT_EQ(value(b), b);
  EXPECT_LE(cache_.size(), capacity);
}

TEST_F(BlockCache, KeepsWhatIsInUse) {
  std::vector<block_ptr> used;
  for (std::uint32_t b = 1; b <= 20; ++b) used.push_back(cache_.create(array_block_kind, {b}));
  EXPECT_EQ(cache_.size(), 20u);
  // Written or not, it stays the same block, and what its user does to it is not lost.
  for (std::uint32_t b = 1; b <= 20; ++b) {
    ASSERT_EQ(cache_.read(array_block_kind, {b}), used[b - 1]);
    used[b - 1]->content.as<array_header>().nr_entries = b;
  }
  used.clear();
  for (std::uint32_t b = 30; b < 60; ++b) make(b, b);
  EXPECT_LE(cache_.size(), capacity);
  for (std::uint32_t b = 1; b <= 20; ++b) ASSERT_EQ(value(b), b);
}

// A block that belongs to a commit is not written over, even if somebody still looks at it.
TEST_F(BlockCache, WritesOnce) {
  store_.records = true;
  const block_ptr used = cache_.create(array_block_kind, {5});
  make(6, 6);
  cache_.write_dirty();
  EXPECT_EQ(writes_of(5), 1u);
  EXPECT_EQ(writes_of(6), 1u);
  cache_.write_dirty();
  for (std::uint32_t b = 30; b < 60; ++b) make(b, b);
  EXPECT_EQ(writes_of(5), 1u);
  EXPECT_EQ(writes_of(6), 1u);
}

// Room is made of clean blocks first: what is being changed is written once, at the commit.
TEST_F(BlockCache, AFullCacheWritesABlockOnceThatIsBeingChanged) {
  for (std::uint32_t b = 30; b < 60; ++b) make(b, b);
  cache_.write_dirty();
  store_.records = true;
  const block_ptr used = cache_.create(array_block_kind, {5});
  make(6, 6);
  for (std::uint32_t b = 30; b < 60; ++b) ASSERT_EQ(value(b), b);
  EXPECT_LE(cache_.size(), capacity);
  EXPECT_TRUE(store_.recorded.empty());
  cache_.write_dirty();
  EXPECT_EQ(writes_of(5), 1u);
  EXPECT_EQ(writes_of(6), 1u);
}

TEST_F(BlockCache, DirtyBlocksAreInTheOrderOfTheDevice) {
  store_.records = true;
  for (const std::uint64_t b : {7u, 3u, 9u, 1u}) make(b, 1);
  cache_.write_dirty();
  std::vector<std::uint64_t> order;
  for (const auto& e : store_.recorded) order.push_back(e.where.value);
  EXPECT_EQ(order, (std::vector<std::uint64_t>{1, 3, 7, 9}));
}

TEST_F(BlockCache, CreatingForgetsWhatWas) {
  make(5, 55);
  cache_.write_dirty();
  EXPECT_EQ(cache_.create(btree_node_kind, {5})->content.bytes[sizeof(array_header)], std::byte{0});
  cache_.write_dirty();
  cache_.clear();
  EXPECT_EQ(cache_.size(), 0u);
  cache_.read(btree_node_kind, {5});
  expect_damage(array_block_kind, 5, "something else refers to it");
}

// The new block finds the cache full, and the one that it replaces is not written.
TEST_F(BlockCache, AFullCacheCreatesADirtyBlockAnew) {
  std::vector<block_ptr> used;
  for (std::uint32_t b = 1; b <= 2 * capacity; ++b)
    used.push_back(cache_.create(array_block_kind, {b}));
  make(3, 33);
  used.clear();
  for (std::uint32_t b = 30; b < 60; ++b) make(b, b);
  EXPECT_EQ(value(3), 33u);
}

TEST_F(BlockCache, WritesAgainWhatIsChangedAgain) {
  make(5, 1);
  cache_.write_dirty();
  const block_ptr again = cache_.read(array_block_kind, {5});
  again->content.as<array_header>().nr_entries = 2;
  cache_.set_dirty(*again);
  cache_.write_dirty();
  cache_.clear();
  EXPECT_EQ(value(5), 2u);
}

TEST_F(BlockCache, DamageIsNamedAndNotKept) {
  make(5, 55);
  cache_.write_dirty();
  cache_.clear();
  disk_.damage_block({5});
  expect_damage(array_block_kind, 5, "store: metadata block 5: ");
  disk_.damage_block({5});
  EXPECT_EQ(value(5), 55u);
  expect_damage(array_block_kind, 100, "metadata block 100, past the end");
  // Sound, but elsewhere; and of another kind.
  disk_[{6}] = disk_[{5}];
  expect_damage(array_block_kind, 6, "store: metadata block 6: ");
  cache_.clear();
  expect_damage(btree_node_kind, 5, "store: metadata block 5: ");
}

TEST_F(BlockCache, AFailedWriteLosesNothing) {
  for (std::uint32_t b = 1; b <= 5; ++b) make(b, b);
  store_.failing_operation = store_.operations + 3;
  EXPECT_THROW(cache_.write_dirty(), device_error);
  cache_.write_dirty();
  cache_.clear();
  for (std::uint32_t b = 1; b <= 5; ++b) EXPECT_EQ(value(b), b);
}

}  // namespace
}  // namespace persistent_data
