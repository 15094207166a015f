// SPDX-License-Identifier: GPL-3.0-or-later
// The walk, block by block; what it reads is trusted.
#include "era/testing/block_roles.h"

#include <functional>

#include "era/format/superblock.h"
#include "era/format/writeset.h"
#include "persistent-data/format/array_block.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/format/space_map.h"

namespace era::test {
namespace {

class finder {
 public:
  explicit finder(std::span<const pd::block> metadata) : metadata_(metadata) {}

  used_blocks find() {
    const auto& sb = metadata_[0].as<superblock>();
    note(0, role::superblock, 0);
    view(0, sb);
    if (sb.current_root != 0)
      bitset({part::current_writeset, {sb.current_era}}, 0, sb.current_root, sb.current_nr_bits);
    note(sb.space_map.bitmap_root, role::index, 0);
    const auto& index = metadata_[sb.space_map.bitmap_root].as<pd::index_block>();
    for (std::uint32_t i = 0; i < pd::bitmaps_for(sb.space_map.nr_blocks); ++i)
      note(index.entries[i].blocknr, role::bitmap, sb.space_map.bitmap_root);
    tree(role::count_node, 0, sb.space_map.ref_count_root, [](auto, auto&, auto) {});
    if (sb.metadata_snap != 0) {
      note(sb.metadata_snap, role::snapshot_superblock, 0);
      snapshot_ = true;
      note(sb.metadata_snap, role::snapshot_superblock, 0);
      view(sb.metadata_snap, metadata_[sb.metadata_snap].as<superblock>());
    }
    return std::move(found_);
  }

 private:
  using entry = std::function<void(std::uint64_t leaf, const pd::node_view&, std::uint32_t i)>;

  used_block& note(std::uint64_t nr, role what, std::uint64_t parent) {
    const auto [at, is_new] = found_.try_emplace(nr);
    if (is_new) at->second.what = what, at->second.parent = parent;
    (snapshot_ ? at->second.in_snapshot : at->second.live) = true;
    return at->second;
  }

  void tree(role what, std::uint64_t parent, std::uint64_t root, const entry& use) {
    note(root, what, parent);
    path_.push_back(root);
    const pd::node_view node(metadata_[root]);
    for (std::uint32_t i = 0; i < node.size(); ++i)
      node.is_leaf() ? use(root, node, i) : tree(what, root, node.child(i).value, use);
    path_.pop_back();
  }

  void view(std::uint64_t location, const superblock& sb) {
    tree(role::writeset_node, location, sb.writeset_tree_root,
         [&](std::uint64_t leaf, const pd::node_view& node, std::uint32_t i) {
           const auto& value = node.value<writeset_value>(i);
           const era_nr era{static_cast<std::uint32_t>(node.key(i))};
           bitset({part::writeset, era}, leaf, value.root, value.nr_bits);
         });
    array(role::era_node, role::era_block, {part::era_array}, location, sb.era_array_root,
          eras_per_array_block, sb.nr_blocks);
  }

  void bitset(const place& where, std::uint64_t parent, std::uint64_t root, std::uint32_t nr_bits) {
    array(role::bitset_node, role::bitset_block, where, parent, root, bits_per_bitset_block,
          nr_bits);
  }

  void array(role node_role, role block_role, const place& where, std::uint64_t parent,
             std::uint64_t root, std::uint64_t per_block, std::uint64_t nr_values) {
    tree(node_role, parent, root,
         [&](std::uint64_t leaf, const pd::node_view& node, std::uint32_t i) {
           const std::uint64_t begin = node.key(i) * per_block;
           const pd::range span{begin, std::min(begin + per_block, nr_values)};
           used_block& block = note(node.child(i).value, block_role, leaf);
           block.last = span.end == nr_values;
           block.nr_bits = nr_values;
           if (span.empty()) {
             block.past_end = found_.at(leaf).past_end = true;
             return;
           }
           cover(block, where, span);
           for (const std::uint64_t nr : path_)
             if (found_.at(nr).what == node_role) cover(found_.at(nr), where, span);
         });
  }

  // The range of a node is that of all blocks below it; they come in order.
  void cover(used_block& block, place where, pd::range span) {
    auto& covered = snapshot_ ? block.snapshot_span : block.live_span;
    if (!covered)
      covered = span;
    else
      covered->end = span.end;
    where.snapshot = snapshot_;
    if (!block.live_span || !snapshot_) block.where = where;
  }

  std::span<const pd::block> metadata_;
  used_blocks found_;
  std::vector<std::uint64_t> path_;  // from the root of the tree to the node at hand
  bool snapshot_ = false;
};

}  // namespace

std::string_view name(role what) {
  constexpr std::string_view names[] = {
      "superblock", "snapshot superblock", "writeset tree node", "era array node", "bitset node",
      "count node", "era array block",     "bitset block",       "index",          "bitmap"};
  return names[static_cast<std::size_t>(what)];
}

const pd::block_kind& kind_of(role what) {
  switch (what) {
    case role::superblock:
    case role::snapshot_superblock: return superblock_kind;
    case role::era_block:
    case role::bitset_block: return pd::array_block_kind;
    case role::index: return pd::space_map_index_kind;
    case role::bitmap: return pd::space_map_bitmap_kind;
    case role::writeset_node:
    case role::era_node:
    case role::bitset_node:
    case role::count_node: return pd::btree_node_kind;
  }
  return pd::btree_node_kind;
}

used_blocks find_roles(std::span<const pd::block> metadata) { return finder(metadata).find(); }

std::vector<std::uint64_t> counted_blocks(std::span<const pd::block> metadata) {
  const auto& root = metadata[0].as<superblock>().space_map;
  const auto& index = metadata[root.bitmap_root].as<pd::index_block>();
  std::vector<std::uint64_t> counted;
  for (std::uint64_t b = 0; b < root.nr_blocks; ++b) {
    const std::uint64_t bitmap = index.entries[b / pd::counts_per_bitmap].blocknr;
    const auto i = static_cast<std::uint32_t>(b % pd::counts_per_bitmap);
    if (pd::count_at(metadata[bitmap].as<pd::bitmap_block>(), i) != 0) counted.push_back(b);
  }
  return counted;
}

}  // namespace era::test
