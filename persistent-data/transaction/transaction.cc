// SPDX-License-Identifier: GPL-3.0-or-later
// A block that an earlier commit reaches is copied before it is changed. A commit has two phases:
// everything except the superblock and a flush, then the superblock and a flush.
#include "persistent-data/transaction/transaction.h"

#include <utility>

namespace persistent_data {

transaction::transaction(block_store& store, std::size_t cache_blocks, const disk_sm_root& root)
    : cache_(store, cache_blocks), counts_(space_map_editor::load(cache_, root)) {}

transaction::transaction(block_store& store, std::size_t cache_blocks)
    : cache_(store, cache_blocks), counts_(space_map_editor::make(cache_)) {}

block_ptr transaction::create(const block_kind& kind) {
  return cache_.create(kind, counts_.allocate());
}

transaction::shadow transaction::shadow_of(const block_kind& kind, block_nr where) {
  block_ptr old = cache_.read(kind, where);
  if (counts_.is_new(where) && counts_.count(where) == 1) {
    cache_.set_dirty(*old);
    return {std::move(old), false};
  }
  block_ptr copy = create(kind);
  copy->content = old->content;
  const bool was_shared = counts_.decrement(where) > 0;
  return {std::move(copy), was_shared};
}

disk_sm_root transaction::prepare() {
  const disk_sm_root root = counts_.write();
  cache_.write_dirty();
  cache_.store().flush();
  return root;
}

void transaction::commit(const block_kind& superblock_kind, block& superblock) {
  prepare_for_write(superblock_kind, superblock, {0});
  cache_.store().write({0}, superblock);
  cache_.store().flush();
  counts_.committed();
}

}  // namespace persistent_data
