// SPDX-License-Identifier: GPL-3.0-or-later
// Descending with copies; splitting and refilling on the way down, so that nothing has to go back
// up.
#include "persistent-data/transaction/btree.h"

#include <algorithm>
#include <cassert>

#include "persistent-data/format/errors.h"
#include "persistent-data/format/node_editor.h"

namespace persistent_data {

// A node in the cache. The block stays there while this lives.
class untyped_btree::node : public node_editor {
 public:
  explicit node(block_ptr block) : node_editor(block->content), block_(std::move(block)) {}

  block_nr where() const noexcept { return block_->where; }
  // Becomes what another node is, in its own place.
  void take_over(const node& other) const noexcept { block_->content = other.block_->content; }

 private:
  block_ptr block_;
};

untyped_btree::untyped_btree(transaction& tx, std::uint32_t value_size, value_references references)
    : tx_(tx), value_size_(value_size), references_(std::move(references)) {}

void untyped_btree::fail(block_nr where, const std::string& why) const {
  throw damaged_metadata(fmt::format("metadata block {}: {}", where, why));
}

untyped_btree::node untyped_btree::read(block_nr where) const {
  block_ptr block = tx_.read(btree_node_kind, where);
  if (const auto wrong = validate_node(block->content, value_size_)) fail(where, wrong->text);
  return node(std::move(block));
}

untyped_btree::node untyped_btree::create(node_flag kind) {
  node n(tx_.create(btree_node_kind));
  n.make_empty(kind, kind == leaf_node ? value_size_ : child_size);
  return n;
}

untyped_btree::node untyped_btree::shadow(block_nr where) {
  read(where);
  auto [block, was_shared] = tx_.shadow_of(btree_node_kind, where);
  node n(std::move(block));
  if (was_shared)
    for (std::uint32_t i = 0; i < n.size(); ++i)
      n.is_leaf() ? references_.increment(n.value(i)) : tx_.counts().increment(n.child(i));
  return n;
}

untyped_btree::node untyped_btree::shadow_child(node& parent, std::uint32_t i) {
  // If the pointer leads to a free block, the parent's copy may have got that block.
  if (parent.child(i) == parent.where()) fail(parent.where(), "it is a child of its own");
  node child = shadow(parent.child(i));
  parent.set_child(i, child.where());
  return child;
}

block_nr untyped_btree::make() { return create(leaf_node).where(); }

void untyped_btree::release(block_nr root) { release_below(root, 0); }

void untyped_btree::release_below(block_nr where, unsigned depth) {
  if (depth >= max_btree_depth) fail(where, "the tree is too deep");
  if (tx_.counts().count(where) == 1) {
    const node n = read(where);
    for (std::uint32_t i = 0; i < n.size(); ++i)
      n.is_leaf() ? references_.decrement(n.value(i)) : release_below(n.child(i), depth + 1);
  }
  tx_.counts().decrement(where);
}

bool untyped_btree::lookup(block_nr root, std::uint64_t key, std::byte* value) const {
  for (unsigned depth = 0; depth < max_btree_depth; ++depth) {
    const node n = read(root);
    if (n.is_leaf()) {
      const auto at = n.find(key);
      if (at) std::memcpy(value, n.value(*at), value_size_);
      return at.has_value();
    }
    root = n.child(n.entry_for(key));
  }
  fail(root, "the tree is too deep");
}

std::optional<std::uint64_t> untyped_btree::lowest(block_nr root) const {
  for (unsigned depth = 0; depth < max_btree_depth; ++depth) {
    const node n = read(root);
    if (n.is_leaf()) return n.size() == 0 ? std::nullopt : std::optional(n.key(0));
    root = n.child(0);
  }
  fail(root, "the tree is too deep");
}

block_nr untyped_btree::insert(block_nr root, std::uint64_t key, const std::byte* value) {
  node at = shadow(root);
  const block_nr new_root = at.where();
  if (at.is_full()) split_root(at);
  for (unsigned depth = 0; !at.is_leaf(); ++depth) {
    if (depth >= max_btree_depth) fail(at.where(), "the tree is too deep");
    const std::uint32_t i = at.entry_for(key);
    if (key < at.key(i)) at.set_key(i, key);
    node child = shadow_child(at, i);
    if (child.is_full()) split_child(at, i, child, key);
    at = std::move(child);
  }
  if (const auto i = at.find(key)) {
    references_.decrement(at.value(*i));
    std::memcpy(at.value(*i), value, value_size_);
  } else {
    at.insert(at.upper_bound(key), key, value);
  }
  return new_root;
}

// The root stays in its place and gets two children.
void untyped_btree::split_root(node& root) {
  const node left = create(root.kind()), right = create(root.kind());
  const std::uint32_t half = root.size() / 2;
  root.move_to_end(left, 0, half);
  root.move_to_end(right, 0, root.size());
  root.make_empty(internal_node, child_size);
  for (const node* child : {&left, &right}) root.append_child(child->key(0), child->where());
}

// child becomes the half in which the key belongs.
void untyped_btree::split_child(node& parent, std::uint32_t i, node& child, std::uint64_t key) {
  node right = create(child.kind());
  const std::uint32_t half = child.size() / 2;
  child.move_to_end(right, half, child.size() - half);
  parent.insert_child(i + 1, right.key(0), right.where());
  if (key >= right.key(0)) child = std::move(right);
}

block_nr untyped_btree::modify(block_nr root, std::uint64_t key,
                               const std::function<void(std::byte*)>& change) {
  node at = shadow(root);
  const block_nr new_root = at.where();
  for (unsigned depth = 0; !at.is_leaf(); ++depth) {
    if (depth >= max_btree_depth) fail(at.where(), "the tree is too deep");
    at = shadow_child(at, at.entry_for(key));
  }
  const auto i = at.find(key);
  if (!i) fail(at.where(), fmt::format("key {} is missing", key));
  change(at.value(*i));
  return new_root;
}

block_nr untyped_btree::remove(block_nr root, std::uint64_t key) {
  node at = shadow(root);
  const block_nr new_root = at.where();
  for (unsigned depth = 0; !at.is_leaf(); ++depth) {
    if (depth >= max_btree_depth) fail(at.where(), "the tree is too deep");
    refill_child(at, at.entry_for(key));
    if (at.where() == new_root && at.size() == 1) {
      // The root is its only child's now; that one was copied, and belongs to nobody else.
      const node child = shadow_child(at, 0);
      at.take_over(child);
      tx_.counts().decrement(child.where());
      continue;
    }
    at = shadow_child(at, at.entry_for(key));
  }
  const auto i = at.find(key);
  if (!i) fail(at.where(), fmt::format("key {} is missing", key));
  references_.decrement(at.value(*i));
  at.erase(*i, 1);
  return new_root;
}

// Before an entry is taken from below it: at a third, it gets more from a neighbour, or joins it.
void untyped_btree::refill_child(node& parent, std::uint32_t i) {
  node child = shadow_child(parent, i);
  if (child.size() > child.room() / 3 || parent.size() < 2) return;
  const std::uint32_t left = i > 0 ? i - 1 : i;
  node neighbour = shadow_child(parent, i > 0 ? i - 1 : i + 1);
  if (child.where() == neighbour.where())
    fail(parent.where(), fmt::format("it has block {} as a child twice", child.where()));
  if (child.kind() != neighbour.kind())
    fail(parent.where(), "it has a leaf and an internal node as children");
  i > 0 ? share(parent, left, neighbour, child) : share(parent, left, child, neighbour);
}

void untyped_btree::share(node& parent, std::uint32_t left, node& a, node& b) {
  const std::uint32_t total = a.size() + b.size();
  if (total <= a.room()) {
    b.move_to_end(a, 0, b.size());
    tx_.counts().decrement(b.where());
    parent.erase(left + 1, 1);
    return;
  }
  const std::uint32_t half = total / 2;
  if (a.size() < half)
    b.move_to_end(a, 0, half - a.size());
  else
    a.move_to_begin(b, half, a.size() - half);
  parent.set_key(left + 1, b.key(0));
}

}  // namespace persistent_data
