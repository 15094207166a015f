// SPDX-License-Identifier: GPL-3.0-or-later
// 1. Every block is classified by itself: kind, shape, and whether it says what can be.
// 2. Intact leaves give array blocks their places; a leaf whose own place nothing confirms gives
//    none.
#include "era/repair/block_scan.h"

#include <algorithm>

#include "era/metadata/content.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/format/divide_up.h"
#include "persistent-data/io/workers.h"

namespace era {
namespace {

constexpr std::size_t blocks_per_batch = 4096;

}  // namespace

block_scan::block_scan(const pd::block_device& device)
    : device_(device),
      queue_(device.make_engine(), device.nr_blocks()),
      classes_(std::min(device.nr_blocks(), pd::max_metadata_blocks)) {}

void block_scan::scan(std::span<const pd::block_nr> blocks, const pd::progress_function& progress) {
  const auto batch = [&](std::size_t item) {
    const std::size_t at = item * blocks_per_batch;
    return blocks.subspan(at, std::min(blocks_per_batch, blocks.size() - at));
  };
  const auto new_worker = [&] {
    return pd::with_prefetch{
        pd::read_queue(device_.make_engine(), device_.nr_blocks(), device_.make_engine()),
        [&](pd::read_queue& queue, std::size_t item) {
          const auto wanted = batch(item);
          scan_batch found;
          found.classes.assign(wanted.size(), block_class::invalid);
          queue.read(wanted, [&](std::size_t i, const pd::block* data, int) {
            if (data) found.classes[i] = classify(*data, wanted[i], found);
          });
          return found;
        },
        [&](pd::read_queue& queue, std::size_t item) { queue.prefetch(batch(item)); }};
  };
  const auto use = [&](std::size_t item, const scan_batch& found) {
    progress();
    const auto scanned = batch(item);
    for (std::size_t i = 0; i < scanned.size(); ++i)
      if (scanned[i].value < classes_.size()) classes_[scanned[i].value] = found.classes[i];
    superblocks_.insert(superblocks_.end(), found.superblocks.begin(), found.superblocks.end());
    newest_era_ = std::max(newest_era_, found.newest_era);
  };
  const std::size_t batches = pd::divide_up(blocks.size(), blocks_per_batch);
  pd::in_order(device_.nr_workers(), batches, new_worker, use);
}

void block_scan::scan_children(const pd::progress_function& progress) {
  std::vector<pd::block_nr> children;
  std::vector<bool> is_wanted(classes_.size());
  each_node(block_class::array_leaf, [&](pd::block_nr, const pd::node_view& node) {
    for (std::uint32_t i = 0; i < node.size(); ++i) {
      const pd::block_nr child = node.child(i);
      if (class_of(child) != block_class::not_scanned || is_wanted[child.value]) continue;
      is_wanted[child.value] = true;
      children.push_back(child);
    }
  });
  scan(children, progress);
}

void block_scan::scan_all(const pd::progress_function& progress) {
  constexpr std::uint64_t at_once = 256 * blocks_per_batch;
  std::vector<pd::block_nr> blocks;
  for (std::uint64_t b = 1; b < classes_.size(); ++b) {
    blocks.push_back({b});
    if (blocks.size() < at_once && b + 1 < classes_.size()) continue;
    scan(blocks, progress);
    blocks.clear();
  }
}

void block_scan::scan_batch::note(std::uint64_t era) {
  if (era < max_current_era) newest_era = std::max(newest_era, static_cast<std::uint32_t>(era));
}

block_class block_scan::classify(const pd::block& b, pd::block_nr where, scan_batch& found) const {
  const pd::block_kind* kind = pd::identify(b, where);
  if (!kind || kind == &superblock_kind) {
    if (pd::is_zero(b)) return block_class::zero;
    if (validate_superblock(b, where)) return block_class::invalid;
    found.superblocks.push_back(b.as<superblock>());
    found.note(found.superblocks.back().current_era);
    return block_class::superblock;
  }
  if (kind == &pd::btree_node_kind) {
    if (!pd::validate_node(b, sizeof(writeset_value)) && pd::node_view(b).is_leaf()) {
      const pd::node_view node(b);
      for (std::uint32_t i = 0; i < node.size(); ++i) found.note(node.key(i));
      return block_class::writeset_leaf;
    }
    if (!pd::validate_node(b, sizeof(pd::le64))) {
      const pd::node_view node(b);
      if (!is_possible_array_node(node, where)) return block_class::impossible;
      return node.is_leaf() ? block_class::array_leaf : block_class::internal_node;
    }
    return pd::validate_node(b, sizeof(pd::le32)) ? block_class::impossible
                                                  : block_class::other_leaf;
  }
  if (kind != &pd::array_block_kind) return block_class::other;
  if (pd::is_array_block_of(b, sizeof(pd::le64))) return block_class::bits;
  if (!pd::is_array_block_of(b, sizeof(pd::le32))) return block_class::impossible;
  const auto eras = pd::array_values<pd::le32>(b);
  if (const era_nr newest = era::newest_era(eras); newest.value < max_current_era)
    found.note(newest.value);
  else
    for (const std::uint32_t era : eras) found.note(era);
  return block_class::eras;
}

// An array has all of its blocks, each once. Internal nodes may be of other trees, whose keys have
// gaps.
bool block_scan::is_possible_array_node(const pd::node_view& node, pd::block_nr where) const {
  std::vector<std::uint64_t> children;
  for (std::uint32_t i = 0; i < node.size(); ++i) {
    if (node.is_leaf() && node.key(i) != node.key(0) + i) return false;
    const std::uint64_t child = node.child(i).value;
    if (child == 0 || child == where.value || child >= nr_blocks()) return false;
    children.push_back(child);
  }
  std::sort(children.begin(), children.end());
  return std::adjacent_find(children.begin(), children.end()) == children.end();
}

std::vector<pd::block_nr> block_scan::all(block_class wanted) const {
  std::vector<pd::block_nr> found;
  found.reserve(static_cast<std::size_t>(std::count(classes_.begin(), classes_.end(), wanted)));
  for (std::size_t i = 0; i < classes_.size(); ++i)
    if (classes_[i] == wanted) found.push_back({i});
  return found;
}

template <class Visit>
void block_scan::each_node(block_class wanted, Visit visit) {
  constexpr std::size_t at_once = 4096;  // there may be millions
  std::vector<pd::block_nr> nodes;
  const auto read = [&] {
    queue_.read(nodes, [&](std::size_t i, const pd::block* data, int) {
      // It may have changed since, if somebody writes meanwhile.
      const std::uint32_t size =
          wanted == block_class::writeset_leaf ? sizeof(writeset_value) : sizeof(pd::le64);
      if (data && pd::identify(*data, nodes[i]) == &pd::btree_node_kind &&
          !pd::validate_node(*data, size))
        visit(nodes[i], pd::node_view(*data));
    });
    nodes.clear();
  };
  for (std::size_t b = 0; b < classes_.size(); ++b) {
    if (classes_[b] == wanted) nodes.push_back({b});
    if (nodes.size() == at_once) read();
  }
  read();
}

std::vector<pd::block_nr> block_scan::possible_array_roots(std::size_t most) {
  std::vector<pd::block_nr> roots;
  for (const block_class what : {block_class::array_leaf, block_class::internal_node}) {
    const std::size_t end = roots.size() + most;
    each_node(what, [&](pd::block_nr where, const pd::node_view& node) {
      if (node.size() > 0 && node.key(0) == 0 && roots.size() < end) roots.push_back(where);
    });
  }
  std::sort(roots.begin(), roots.end());
  return roots;
}

std::uint64_t block_scan::end_of_children() {
  std::uint64_t end = 0;
  for (const block_class what : {block_class::array_leaf, block_class::internal_node})
    each_node(what, [&](pd::block_nr, const pd::node_view& node) {
      for (std::uint32_t i = 0; i < node.size(); ++i) end = std::max(end, node.child(i).value + 1);
    });
  each_node(block_class::writeset_leaf, [&](pd::block_nr, const pd::node_view& node) {
    for (std::uint32_t i = 0; i < node.size(); ++i)
      end = std::max(end, node.value<writeset_value>(i).root + 1);
  });
  return end;
}

bool block_scan::collect(std::vector<named_writeset>& found) {
  bool all = true;
  const auto resolve = [&] {
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
  };
  std::size_t resolved = 0;
  each_node(block_class::writeset_leaf, [&](pd::block_nr, const pd::node_view& node) {
    for (std::uint32_t i = 0; i < node.size(); ++i) {
      const auto& value = node.value<writeset_value>(i);
      if (value.nr_bits == 0) continue;
      // Each of the others has a bitset of at least two blocks.
      if (resolved > nr_blocks() / 2) return void(all = false);
      found.push_back({node.key(i), value.nr_bits, value.root});
    }
    if (found.size() < resolved + (1 << 16)) return;
    resolve();
    resolved = found.size();
  });
  resolve();
  return all;
}

block_scan::placed_blocks block_scan::place(std::uint32_t nr_blocks) {
  placed_blocks placed;
  stray_blocks nodes;  // by the key with which an internal node leads to them
  each_node(block_class::internal_node, [&](pd::block_nr, const pd::node_view& node) {
    for (std::uint32_t i = 0; i < node.size(); ++i)
      if (node.key(i) < max_origin_blocks)
        placed.is_complete = nodes.add(node.key(i), node.child(i)) && placed.is_complete;
  });
  nodes.resolve();
  const std::uint64_t end_of_eras = pd::array_blocks_for(nr_blocks, sizeof(pd::le32)),
                      end_of_bits = pd::array_blocks_for(bitset_words(nr_blocks), sizeof(pd::le64));
  placed.lost_bits.resize(end_of_bits);
  std::vector<bool> has_place(classes_.size());
  each_node(block_class::array_leaf, [&](pd::block_nr where, const pd::node_view& node) {
    if (node.size() > 0 && node.key(0) != 0 && !nodes.contains(node.key(0), where)) return;
    bool is_of_eras = false;
    std::vector<std::uint64_t> lost;
    for (std::uint32_t i = 0; i < node.size(); ++i) {
      const pd::block_nr block = node.child(i);
      const block_class what = class_of(block);
      const bool is_eras = what == block_class::eras;
      is_of_eras = is_of_eras || is_eras;
      if (!is_eras && what != block_class::bits) {
        lost.push_back(node.key(i));
        continue;
      }
      if (node.key(i) >= (is_eras ? end_of_eras : end_of_bits)) continue;
      placed.is_complete =
          (is_eras ? placed.eras : placed.bits).add(node.key(i), block) && placed.is_complete;
      has_place[block.value] = true;
    }
    for (const std::uint64_t place : lost)
      if (!is_of_eras && place < end_of_bits) placed.lost_bits[place] = true;
  });
  placed.eras.resolve();
  placed.bits.resolve();
  for (std::uint64_t b = 0; b < classes_.size(); ++b) {
    if (has_place[b]) continue;
    if (classes_[b] == block_class::eras) placed.unplaced_eras.push_back({b});
    if (classes_[b] == block_class::bits) placed.unplaced_bits.push_back({b});
  }
  return placed;
}

std::vector<pd::le64> block_scan::merge_bits(std::span<const pd::block_nr> blocks) {
  std::vector<pd::le64> merged;
  if (!blocks.empty()) merged.resize(pd::max_array_entries(sizeof(pd::le64)));
  queue_.read(blocks, [&](std::size_t n, const pd::block* data, int) {
    if (!pd::is_sound_array_block(data, blocks[n], sizeof(pd::le64)))
      return std::fill(merged.begin(), merged.end(), pd::le64(~std::uint64_t{0}));
    const auto words = pd::array_room<pd::le64>(*data);
    for (std::size_t i = 0; i < words.size(); ++i) merged[i] = merged[i] | words[i];
  });
  return merged;
}

}  // namespace era
