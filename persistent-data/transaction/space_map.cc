// SPDX-License-Identifier: GPL-3.0-or-later
// load() reads all bitmaps and the tree of large counts, and set() changes them in memory. write()
// puts what has changed into new blocks:
// 1. The tree of large counts is built anew, if one of its counts has changed.
// 2. The index block gets a new place, and so does each bitmap with a changed count, until none is
//    left: a move changes counts, too.
// 3. The moved bitmaps and the index are copied there.
//
// None of this takes time for blocks whose counts stay as they are.
#include "persistent-data/transaction/space_map.h"

#include <algorithm>
#include <cassert>
#include <limits>

#include "persistent-data/format/btree_node.h"
#include "persistent-data/format/btree_nodes.h"

namespace persistent_data {

space_map_editor::space_map_editor(block_cache& cache, std::uint64_t nr_blocks)
    : cache_(&cache),
      bitmaps_(bitmaps_for(nr_blocks)),
      used_at_commit_(nr_blocks),
      dirty_(bitmaps_.size()) {
  for (std::size_t i = 0; i < bitmaps_.size(); ++i) index_.entries[i].nr_free = counts_per_bitmap;
}

space_map_editor space_map_editor::make(block_cache& cache) {
  space_map_editor c(cache, std::min(cache.store().nr_blocks(), max_metadata_blocks));
  c.set({0}, 1);
  c.dirty_.assign(c.dirty_.size(), true);
  c.tree_changed_ = true;
  return c;
}

space_map_editor space_map_editor::load(block_cache& cache, const disk_sm_root& root) {
  const std::uint64_t nr_blocks = root.nr_blocks;
  const std::uint64_t most = std::min(cache.store().nr_blocks(), max_metadata_blocks);
  space_map_editor c(cache, std::min(nr_blocks, most));
  if (nr_blocks == 0 || nr_blocks > most)
    c.fail(fmt::format("the space map counts {} blocks, and there are {}", nr_blocks, most));
  c.load_bitmaps(root);
  c.tree_root_ = {root.ref_count_root};
  c.load_large_counts(c.tree_root_, 0);
  for (std::uint64_t b = 0; b < nr_blocks; ++b) {
    const std::uint32_t count = c.count_in_bitmap({b});
    if (count == count_in_tree && !c.large_.contains(b))
      c.fail(fmt::format("the count of metadata block {} is not in the tree", b));
    if (count == 0) continue;
    ++c.nr_used_;
    c.used_at_commit_[b] = true;
  }
  if (c.count({0}) == 0) c.fail("the superblock is counted as free");
  return c;
}

void space_map_editor::fail(const std::string& why) const {
  throw damaged_metadata(fmt::format("{}: {}", cache_->store().name(), why));
}

void space_map_editor::load_bitmaps(const disk_sm_root& root) {
  index_root_ = {root.bitmap_root};
  index_ = cache_->read(space_map_index_kind, index_root_)->content.as<index_block>();
  for (std::uint32_t i = 0; i < dirty_.size(); ++i) {
    const auto block = cache_->read(space_map_bitmap_kind, {index_.entries[i].blocknr});
    bitmaps_[i] = block->content.as<bitmap_block>();
    // Blocks past the end of the device may be said to be in use.
    const std::uint64_t first = std::uint64_t{i} * counts_per_bitmap;
    for (std::uint64_t b = std::max(first, nr_blocks()); b < first + counts_per_bitmap; ++b)
      set_count(bitmaps_[i], static_cast<std::uint32_t>(b - first), 0);
    count_free(i);
  }
}

// As the kernel does: what lies past the device's end is free.
void space_map_editor::count_free(std::uint32_t i) {
  index_entry& entry = index_.entries[i];
  std::uint32_t nr_free = 0;
  for (std::uint32_t k = 0; k < counts_per_bitmap; ++k) nr_free += count_at(bitmaps_[i], k) == 0;
  entry.nr_free = nr_free;
  entry.none_free_before = 0;
}

void space_map_editor::load_large_counts(block_nr where, unsigned depth) {
  const auto block = cache_->read(btree_node_kind, where);
  if (const auto wrong = validate_node(block->content, sizeof(le32));
      wrong || depth > max_btree_depth)
    fail(fmt::format("metadata block {}: {}", where, wrong ? wrong->text : "too deep"));
  tree_nodes_.push_back(where);
  if (tree_nodes_.size() > nr_blocks()) fail("the tree of large counts has no end");
  const node_view node(block->content);
  for (std::uint32_t i = 0; i < node.size(); ++i) {
    if (!node.is_leaf()) {
      load_large_counts(node.child(i), depth + 1);
      continue;
    }
    const std::uint64_t key = node.key(i);
    const std::uint32_t count = node.value<le32>(i);
    if (key >= nr_blocks() || count_in_bitmap({key}) != count_in_tree || count < count_in_tree)
      fail(fmt::format("the tree has a count of {} for metadata block {}", count, key));
    large_[key] = count;
  }
}

void space_map_editor::check(block_nr b) const {
  if (b.value >= nr_blocks())
    fail(fmt::format("something refers to metadata block {}, past the end", b));
}

std::uint32_t space_map_editor::count_in_bitmap(block_nr b) const noexcept {
  return count_at(bitmaps_[b.value / counts_per_bitmap],
                  static_cast<std::uint32_t>(b.value % counts_per_bitmap));
}

std::uint32_t space_map_editor::count(block_nr b) const {
  check(b);
  const std::uint32_t count = count_in_bitmap(b);
  return count < count_in_tree ? count : large_.at(b.value);
}

void space_map_editor::set(block_nr b, std::uint32_t count) {
  const auto bitmap = static_cast<std::uint32_t>(b.value / counts_per_bitmap);
  const auto k = static_cast<std::uint32_t>(b.value % counts_per_bitmap);
  const std::uint32_t before = count_at(bitmaps_[bitmap], k);
  set_count(bitmaps_[bitmap], k, std::min(count, count_in_tree));
  dirty_[bitmap] = true;
  if (count >= count_in_tree)
    large_[b.value] = count;
  else if (before == count_in_tree)
    large_.erase(b.value);
  if (count >= count_in_tree || before == count_in_tree) tree_changed_ = true;
  if ((count > 0) == (before > 0)) return;
  taken_or_freed_.push_back(static_cast<std::uint32_t>(b.value));
  index_entry& entry = index_.entries[bitmap];
  if (count > 0) {
    ++nr_used_;
    entry.nr_free = entry.nr_free - 1;
  } else {
    --nr_used_;
    entry.nr_free = entry.nr_free + 1;
    entry.none_free_before = std::min<std::uint32_t>(entry.none_free_before, k);
  }
}

block_nr space_map_editor::allocate() {
  for (std::uint64_t tried = 0; tried < nr_blocks(); ++tried) {
    if (next_ >= nr_blocks()) next_ = 1;
    const std::uint64_t b = next_++;
    if (b >= nr_blocks() || used_at_commit_[b] || count_in_bitmap({b}) != 0) continue;
    set({b}, 1);
    return {b};
  }
  throw no_space(
      fmt::format("{}: no free metadata block is left: {} of {} are in use, and others "
                  "are only free after a commit; take a larger metadata device",
                  cache_->store().name(), nr_used_, nr_blocks()));
}

void space_map_editor::increment(block_nr b) {
  const std::uint32_t now = count(b);
  if (now == 0) fail(fmt::format("metadata block {} is referred to and counted as free", b));
  if (now == std::numeric_limits<std::uint32_t>::max())
    fail(fmt::format("metadata block {} has more references than can be counted", b));
  set(b, now + 1);
}

std::uint32_t space_map_editor::decrement(block_nr b) {
  const std::uint32_t now = count(b);
  if (now == 0) fail(fmt::format("metadata block {} is referred to and counted as free", b));
  set(b, now - 1);
  return now - 1;
}

bool space_map_editor::is_new(block_nr b) const {
  check(b);
  return !used_at_commit_[b.value] && count_in_bitmap(b) != 0;
}

disk_sm_root space_map_editor::write() {
  if (tree_changed_) write_large_counts();
  if (index_root_.value != 0) decrement(index_root_);
  index_root_ = allocate();
  move_bitmaps();
  cache_->create(space_map_index_kind, index_root_)->content.as<index_block>() = index_;
  disk_sm_root root{};
  root.nr_blocks = nr_blocks();
  root.nr_allocated = nr_used_;
  root.bitmap_root = index_root_.value;
  root.ref_count_root = tree_root_.value;
  return root;
}

// Its nodes have one reference each: making it anew does not change what it has to hold.
void space_map_editor::write_large_counts() {
  for (const block_nr node : tree_nodes_) decrement(node);
  tree_nodes_.clear();
  std::vector<btree_entry<le32>> counts;
  for (const auto& [b, count] : large_) counts.push_back({b, count});
  const auto put_node = [&](const block& node) {
    const block_nr where = allocate();
    tree_nodes_.push_back(where);
    cache_->create(btree_node_kind, where)->content = node;
    return where;
  };
  tree_root_ = build_btree_nodes<le32>(put_node, counts);
}

// A bitmap that moves changes counts, which may be in others: until all that have changed have
// moved. Each moves once.
void space_map_editor::move_bitmaps() {
  std::vector<bool> moved(dirty_.size());
  for (bool again = true; again;) {
    again = false;
    for (std::uint32_t i = 0; i < dirty_.size(); ++i) {
      if (!dirty_[i] || moved[i]) continue;
      moved[i] = again = true;
      if (index_.entries[i].blocknr != 0) decrement({index_.entries[i].blocknr});
      index_.entries[i].blocknr = allocate().value;
    }
  }
  for (std::uint32_t i = 0; i < dirty_.size(); ++i)
    if (moved[i]) put_bitmap(i);
}

void space_map_editor::put_bitmap(std::uint32_t i) {
  index_entry& entry = index_.entries[i];
  std::uint32_t first_free = entry.none_free_before;
  while (first_free < counts_per_bitmap && count_at(bitmaps_[i], first_free) != 0) ++first_free;
  entry.none_free_before = first_free;
  const auto block = cache_->create(space_map_bitmap_kind, {entry.blocknr});
  block->content.as<bitmap_block>() = bitmaps_[i];
}

void space_map_editor::committed() {
  for (const std::uint64_t b : taken_or_freed_) used_at_commit_[b] = count_in_bitmap({b}) != 0;
  taken_or_freed_.clear();
  dirty_.assign(dirty_.size(), false);
  tree_changed_ = false;
}

}  // namespace persistent_data
