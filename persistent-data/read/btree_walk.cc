// SPDX-License-Identifier: GPL-3.0-or-later
// The level-by-level walk.
#include "persistent-data/read/btree_walk.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace persistent_data {

namespace {
constexpr std::size_t batch_size = 256;
constexpr range all_keys{0, std::numeric_limits<std::uint64_t>::max()};
}  // namespace

std::optional<error_detail> validate(const block_kind& kind, const block* data, int error,
                                     block_nr where) {
  if (!data)
    return error_detail{error_class::io_error,
                        fmt::format("the block cannot be read: {}", std::strerror(error))};
  return validate(kind, *data, where);
}

std::optional<error_detail> validate(reach_result reached, block_nr pointer) {
  switch (reached) {
    case reach_result::first: return {};
    case reach_result::again:
      return error_detail{error_class::cross_linked,
                          fmt::format("it points to block {}, which something else owns", pointer)};
    case reach_result::excluded:
      return error_detail{error_class::in_doubt,
                          fmt::format("it points to block {}, whose references contradict "
                                      "the space map's count or each other",
                                      pointer)};
    case reach_result::outside: break;
  }
  if (pointer.value == 0)
    return error_detail{error_class::bad_pointer, "it points to the superblock"};
  return error_detail{error_class::bad_pointer,
                      fmt::format("it points to block {}, past the metadata's end", pointer)};
}

// A node to be read, or, without a block, the gap that a lost one leaves.
struct btree_walk::child {
  std::optional<block_nr> block;
  range keys;
};

btree_walk::btree_walk(read_queue& queue, reference_counter& counter)
    : queue_(queue), counter_(counter) {}
btree_walk::~btree_walk() = default;

void btree_walk::walk(std::optional<block_nr> from, block_nr root, std::uint32_t leaf_value_size,
                      const btree_events& events) {
  events_ = &events;
  leaf_value_size_ = leaf_value_size;
  level_.clear();
  if (auto wrong = validate(counter_.reach(from, root), root)) {
    events.damaged({from.value_or(block_nr{0}), std::move(*wrong), all_keys});
    events.lost(all_keys);
    return;
  }
  level_.push_back({root, all_keys});
  const auto is_node = [](const child& c) { return c.block.has_value(); };
  for (unsigned depth = 0; std::any_of(level_.begin(), level_.end(), is_node); ++depth) {
    walk_level(depth);
    level_.swap(next_level_);
  }
  for (const child& gap : level_) events.lost(gap.keys);
}

void btree_walk::walk_level(unsigned depth) {
  kind_ = level_kind::unknown;
  next_level_.clear();
  for (std::size_t begin = 0; begin < level_.size(); begin += batch_size) {
    const std::size_t end = end_of_batch(begin);
    if (end < level_.size()) prefetch_batch(end, end_of_batch(end));
    read_batch(begin, end);
    if (kind_ == level_kind::unknown) decide_kind(begin, end);
    for (std::size_t i = begin; i < end; ++i) visit(level_[i], i - begin, depth);
  }
}

std::size_t btree_walk::end_of_batch(std::size_t begin) const {
  return std::min(begin + batch_size, level_.size());
}

void btree_walk::prefetch_batch(std::size_t begin, std::size_t end) {
  wanted_.clear();
  for (std::size_t i = begin; i < end; ++i)
    if (level_[i].block) wanted_.push_back(*level_[i].block);
  queue_.prefetch(wanted_);
}

void btree_walk::read_batch(std::size_t begin, std::size_t end) {
  if (batch_room_ < end - begin) {
    batch_room_ = std::min(batch_size, std::max(end - begin, 2 * batch_room_));
    batch_.reset(new block[batch_room_]);
  }
  errors_.assign(end - begin, {});
  wanted_.clear();
  slots_.clear();
  for (std::size_t i = begin; i < end; ++i)
    if (level_[i].block) {
      wanted_.push_back(*level_[i].block);
      slots_.push_back(i - begin);
    }
  queue_.read(wanted_, [&](std::size_t index, const block* data, int error) {
    const std::size_t slot = slots_[index];
    errors_[slot] = validate(btree_node_kind, data, error, wanted_[index]);
    if (!errors_[slot]) errors_[slot] = validate_node(*data, leaf_value_size_);
    if (!errors_[slot]) batch_[slot] = *data;
  });
}

// All leaves are on one level. If nodes contradict each other, the majority is believed.
void btree_walk::decide_kind(std::size_t begin, std::size_t end) {
  std::size_t leaves = 0, internal = 0;
  for (std::size_t i = begin; i < end; ++i)
    if (level_[i].block && !errors_[i - begin])
      ++(node_view(batch_[i - begin]).is_leaf() ? leaves : internal);
  if (leaves + internal == 0) return;
  kind_ = leaves > internal ? level_kind::leaves : level_kind::internal;
  if (kind_ == level_kind::internal) return;
  // Until now there were only gaps, kept for the next level that does not come.
  for (const child& gap : next_level_) events_->lost(gap.keys);
  next_level_.clear();
}

void btree_walk::visit(const child& from, std::size_t slot, unsigned depth) {
  if (!from.block) return lose(from.keys);
  if (errors_[slot]) return damaged(from, std::move(*errors_[slot]));
  const node_view node(batch_[slot]);
  if (auto wrong = validate_place(from, node, depth)) return damaged(from, std::move(*wrong));
  if (kind_ == level_kind::leaves)
    events_->leaf(*from.block, node);
  else
    add_children(from, node);
}

// Does a sound node fit the place that it was found in?
std::optional<error_detail> btree_walk::validate_place(const child& from, const node_view& node,
                                                       unsigned depth) const {
  const auto wrong = [](std::string detail) {
    return error_detail{error_class::bad_shape, std::move(detail)};
  };
  if (node.is_leaf() != (kind_ == level_kind::leaves))
    return wrong(node.is_leaf() ? "a leaf on a level of internal nodes"
                                : "an internal node on a level of leaves");
  if (!node.is_leaf() && depth + 1 >= max_btree_depth)
    return wrong(fmt::format("the tree is deeper than {} levels", max_btree_depth));
  if (node.size() == 0)
    return depth == 0 ? std::nullopt : std::optional(wrong("a leaf without entries below a root"));
  for (const std::uint64_t key : {node.key(0), node.key(node.size() - 1)})
    if (key < from.keys.begin || key >= from.keys.end)
      return wrong(fmt::format("the node has key {}, and its parent places it from {} to before {}",
                               key, from.keys.begin, from.keys.end));
  return {};
}

void btree_walk::add_children(const child& parent, const node_view& node) {
  for (std::uint32_t i = 0; i < node.size(); ++i) {
    const range keys{node.key(i), i + 1 < node.size() ? node.key(i + 1) : parent.keys.end};
    const block_nr block = node.child(i);
    if (auto wrong = validate(counter_.reach(parent.block, block), block))
      damaged({parent.block, keys}, std::move(*wrong));
    else
      next_level_.push_back({block, keys});
  }
}

void btree_walk::damaged(const child& where, error_detail what) {
  events_->damaged({*where.block, std::move(what), where.keys});
  lose(where.keys);
}

// Gaps travel down with the level, so that they come in order with the leaves. Neighbours become
// one: there are never more gaps than nodes.
void btree_walk::lose(range keys) {
  if (kind_ == level_kind::leaves) return events_->lost(keys);
  if (!next_level_.empty() && !next_level_.back().block &&
      next_level_.back().keys.end == keys.begin)
    next_level_.back().keys.end = keys.end;
  else
    next_level_.push_back({std::nullopt, keys});
}

}  // namespace persistent_data
