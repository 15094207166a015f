// SPDX-License-Identifier: GPL-3.0-or-later
// A hash map of blocks with a list in order of use. A full cache drops the clean blocks that are
// unused longest. Only if that is not enough it writes its dirty blocks, which is safe since
// nothing on the device refers to them yet.
#include "persistent-data/transaction/block_cache.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace persistent_data {

block_cache::block_cache(block_store& store, std::size_t capacity)
    : store_(store), capacity_(std::max<std::size_t>(capacity, 1)) {}

block_ptr block_cache::read(const block_kind& kind, block_nr where) {
  if (const auto at = blocks_.find(where.value); at != blocks_.end()) {
    recent_.splice(recent_.begin(), recent_, at->second.used);
    // Verified once, for whoever read it then.
    if (at->second.block->kind == &kind) return at->second.block;
    throw damaged_metadata(
        fmt::format("{}: metadata block {} is not {}, but something else refers to "
                    "it",
                    store_.name(), where, kind.name));
  }
  if (where.value >= store_.nr_blocks())
    throw damaged_metadata(fmt::format("{}: something refers to metadata block {}, past the end",
                                       store_.name(), where));
  auto block = std::make_shared<cached_block>();
  block->where = where;
  block->kind = &kind;
  store_.read(where, block->content);
  if (const auto wrong = validate(kind, block->content, where))
    throw damaged_metadata(
        fmt::format("{}: metadata block {}: {}", store_.name(), where, wrong->text));
  return insert(std::move(block));
}

block_ptr block_cache::create(const block_kind& kind, block_nr where) {
  if (const auto at = blocks_.find(where.value); at != blocks_.end()) {
    recent_.erase(at->second.used);
    blocks_.erase(at);
    dirty_.erase(where.value);
  }
  auto block = std::make_shared<cached_block>();
  block->where = where;
  block->kind = &kind;
  block->content = {};
  insert(block);
  set_dirty(*block);
  return block;
}

block_ptr block_cache::insert(block_ptr block) {
  make_room();
  recent_.push_front(block->where.value);
  blocks_[block->where.value] = {block, recent_.begin()};
  return block;
}

void block_cache::make_room() {
  if (blocks_.size() < capacity_) return;
  forget_clean();
  if (blocks_.size() < capacity_) return;
  // Dirty ones are new: nothing on the device refers to them yet, so they may be written any time.
  write_dirty(in_use::stay_dirty);
  forget_clean();
}

void block_cache::forget_clean() {
  for (auto at = recent_.end(); at != recent_.begin() && blocks_.size() >= capacity_;) {
    --at;
    const auto found = blocks_.find(*at);
    if (found->second.block.use_count() > 1 || dirty_.contains(*at)) continue;
    blocks_.erase(found);
    at = recent_.erase(at);
  }
}

void block_cache::write_dirty() { write_dirty(in_use::are_clean); }

void block_cache::write_dirty(in_use those) {
  for (auto at = dirty_.begin(); at != dirty_.end();) {
    const block_ptr& block = blocks_.at(*at).block;
    // In a copy: its user may go on looking at it, or changing it.
    persistent_data::block prepared = block->content;
    prepare_for_write(*block->kind, prepared, block->where);
    store_.write(block->where, prepared);
    const bool stays = those == in_use::stay_dirty && block.use_count() > 1;
    at = stays ? std::next(at) : dirty_.erase(at);
  }
}

void block_cache::clear() {
  blocks_.clear();
  dirty_.clear();
  recent_.clear();
}

}  // namespace persistent_data
