// SPDX-License-Identifier: GPL-3.0-or-later
// Damages field by field; the checksum stays right. It leaves out damage that cannot be told from
// sound metadata:
// - in every block: padding, and room after the last entry; nothing reads it;
// - superblock: uuid, the unused part of the space map's root, flag bit 0 (some writers set it), a
//   multiple of 8 as block size, a current era above the highest that is recorded, a space map that
//   ends after the last used block, a current writeset's nr_bits without a current writeset; in
//   the snapshot's copy also what it does not hold: space map, current writeset, metadata_snap;
// - writeset tree: another era that would be in order; nr_bits with the same number of words;
// - values: any era up to the current one, any bit below nr_bits; none of it is recorded twice;
// - index: a lower bound that is lower than it could be.
#include <algorithm>

#include "era/format/superblock.h"
#include "era/format/writeset.h"
#include "era/testing/mutations.h"
#include "persistent-data/format/array_block.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/format/space_map.h"

namespace era::test {
namespace {

constexpr std::uint64_t most = 0xffffffff;
constexpr std::size_t space_map_at = offsetof(superblock, space_map);

std::size_t value_at(std::uint64_t max_entries, std::uint64_t value_size, std::uint64_t i) {
  return sizeof(pd::node_header) + max_entries * sizeof(pd::le64) + i * value_size;
}

std::size_t key_at(std::uint64_t i) { return sizeof(pd::node_header) + i * sizeof(pd::le64); }

}  // namespace

void mutator::superblock_fields() {
  set32("superblock", offsetof(superblock, flags), {2, 1u << 31, most});
  set64("superblock", offsetof(superblock, magic), {0, superblock_magic + 1, 27022010});
  set32("superblock", offsetof(superblock, version), {0, 2, most});
  const auto& sb = original_.as<superblock>();
  set32("superblock", offsetof(superblock, data_block_size),
        {0, 1, 7, sb.data_block_size + 1, sb.data_block_size - 1, most});
  set32("superblock", offsetof(superblock, metadata_block_size), {0, 1, 7, 9, 16, most});
  // A block of the era array more or less, and one value more or less.
  const std::uint64_t nr_blocks = sb.nr_blocks;
  set32("superblock", offsetof(superblock, nr_blocks),
        {0, 1, nr_blocks - 1, nr_blocks + 1, nr_blocks + eras_per_array_block,
         nr_blocks - std::min<std::uint64_t>(nr_blocks, eras_per_array_block), 0x7fffffff,
         0x80000000, most});
  const std::uint64_t highest = highest_known_era(use_.what == role::snapshot_superblock);
  set32("superblock", offsetof(superblock, current_era), {0, highest - 1});
  pointer("superblock pointer", offsetof(superblock, writeset_tree_root), role::writeset_node);
  pointer("superblock pointer", offsetof(superblock, era_array_root), role::era_node);
  use_.what == role::superblock ? live_superblock_fields() : copied_superblock_fields();
}

void mutator::live_superblock_fields() {
  const auto& sb = original_.as<superblock>();
  pointer("superblock pointer", offsetof(superblock, current_root), role::bitset_node);
  pointer("superblock pointer", offsetof(superblock, metadata_snap), role::snapshot_superblock);
  if (sb.current_root != 0) {
    const std::uint64_t bits = sb.current_nr_bits;
    set32("superblock", offsetof(superblock, current_nr_bits),
          {0, bits + 64, bits - 64, bits + bits_per_bitset_block, 0x7fffffff, 0x80000000, most});
  }
  space_map_root();
}

void mutator::space_map_root() {
  const pd::disk_sm_root& root = original_.as<superblock>().space_map;
  const std::uint64_t last_used = subject_.roles.rbegin()->first, end = subject_.metadata.size();
  const options not_dumped{expectation::error, true, false};
  constexpr std::uint64_t top = std::uint64_t{1} << 63;
  set64("space map root", space_map_at + offsetof(pd::disk_sm_root, nr_blocks),
        {0, 1, last_used, end + 1, pd::max_metadata_blocks, top, ~std::uint64_t{0}}, not_dumped);
  set64("space map root", space_map_at + offsetof(pd::disk_sm_root, nr_allocated),
        {0, root.nr_allocated - 1, root.nr_allocated + 1, end + 1, top, ~std::uint64_t{0}},
        not_dumped);
  pointer("superblock pointer", space_map_at + offsetof(pd::disk_sm_root, bitmap_root),
          role::index);
  pointer("superblock pointer", space_map_at + offsetof(pd::disk_sm_root, ref_count_root),
          role::count_node);
}

void mutator::copied_superblock_fields() {
  const auto& live = subject_.metadata[0].as<superblock>();
  set32("superblock", offsetof(superblock, data_block_size), {live.data_block_size + 8});
  set32("superblock", offsetof(superblock, current_era), {live.current_era + 1, most});
}

void mutator::node_fields() {
  node_header_fields();
  node_keys();
  node_values();
}

void mutator::node_header_fields() {
  const auto& header = original_.as<pd::node_header>();
  const std::uint64_t entries = header.nr_entries, room = header.max_entries;
  set32("node flags", offsetof(pd::node_header, flags),
        {header.flags == 1 ? 2u : 1u, 0, 3, 4, most});
  set32("node count", offsetof(pd::node_header, nr_entries), {room + 1, 1u << 31, most});
  // A writeset that is gone leaves nothing except its bitset; one that was removed may still be
  // there after the last, whole and not counted.
  const bool forgets = use_.what == role::writeset_node && header.flags == pd::leaf_node;
  set32("node count", offsetof(pd::node_header, nr_entries), {entries + 1, room},
        {expectation::error, !forgets, !forgets});
  if (entries > 0)
    set32("node count", offsetof(pd::node_header, nr_entries), {entries - 1, 0},
          {forgets ? expectation::leak : expectation::error, !forgets, !forgets});
  set32("node room", offsetof(pd::node_header, max_entries),
        {0, 1, room - 1, room + 1, room - 3, room + 3, most});
  const std::uint64_t size = header.value_size;
  set32("node value size", offsetof(pd::node_header, value_size),
        {0, 1, 4, 8, 12, size - 1, size + 1, most});
}

void mutator::node_keys() {
  const pd::node_view node(original_);
  const std::uint64_t n = node.size();
  if (n == 0) return;
  const auto exchange = [&](std::uint64_t i, std::uint64_t a, std::uint64_t b) {
    emit_prepared("node key order", fmt::format("keys {} and {} are {} and {}", i, i + 1, a, b),
                  [&](pd::block& content) {
                    const pd::le64 keys[] = {a, b};
                    std::memcpy(&content.bytes[key_at(i)], keys, sizeof keys);
                  });
  };
  for (std::uint64_t i = 0; i + 1 < n; i += std::max<std::uint64_t>(1, (n - 2) / 3)) {
    const auto first = static_cast<std::uint32_t>(i);
    exchange(i, node.key(first + 1), node.key(first));
    exchange(i, node.key(first), node.key(first));
  }
  const std::uint64_t last = node.key(static_cast<std::uint32_t>(n - 1));
  set64("node key", key_at(n - 1), {~std::uint64_t{0}, std::uint64_t{1} << 32, 1ull << 63});
  if (use_.what == role::writeset_node && node.is_leaf()) {
    const auto& live = subject_.metadata[0].as<superblock>();
    const std::uint64_t current = live.current_era;
    set64("node key", key_at(0), {0});
    set64("node key", key_at(n - 1), {current + 1});
    if (use_.live && live.current_root != 0) set64("node key", key_at(n - 1), {current});
  } else {
    set64("node key", key_at(0), {node.key(0) + 1, node.key(0) - 1});
    set64("node key", key_at(n - 1), {last + 1, last - 1});
  }
}

role mutator::role_of_child() const {
  const bool leaf = original_.as<pd::node_header>().flags == pd::leaf_node;
  if (!leaf) return use_.what;
  return use_.what == role::era_node ? role::era_block : role::bitset_block;
}

void mutator::node_values() {
  const auto& header = original_.as<pd::node_header>();
  const bool leaf = header.flags == pd::leaf_node;
  for (std::uint32_t i = 0; i < header.nr_entries; ++i) {
    const std::size_t at = value_at(header.max_entries, header.value_size, i);
    if (leaf && use_.what == role::writeset_node) {
      const std::uint64_t bits = get32(at);
      set32("writeset size", at,
            {0, bits + 64, bits - 64, bits + bits_per_bitset_block, 0x7fffffff, 0x80000000, most});
      pointer("writeset pointer", at + offsetof(writeset_value, root), role::bitset_node);
    } else if (leaf && use_.what == role::count_node) {
      const std::uint64_t count = get32(at);
      set32("large count", at, {0, 1, 2, count - 1});
      set32("large count", at, {count + 1, most}, {expectation::leak, false});
    } else {
      // In a wide node the inner ones are alike.
      const bool inner = i > 1 && i + 1 < header.nr_entries && i % 8 != 0;
      pointer(leaf ? "array pointer" : "child pointer", at, role_of_child(), inner);
    }
  }
}

void mutator::array_fields() {
  const auto& header = original_.as<pd::array_header>();
  const std::uint64_t entries = header.nr_entries, room = header.max_entries;
  set32("array count", offsetof(pd::array_header, nr_entries),
        {0, entries - 1, entries + 1, room, most});
  set32("array room", offsetof(pd::array_header, max_entries), {0, room - 1, room + 1});
  set32("array value size", offsetof(pd::array_header, value_size), {0, 4, 8, most});

  const std::uint64_t last = sizeof(header) + (entries - 1) * header.value_size;
  if (use_.what == role::era_block) {
    const std::uint64_t current = subject_.metadata[0].as<superblock>().current_era;
    set32("era value", sizeof(header), {current + 1, most});
    set32("era value", last, {current + 1, 0x80000000});
  } else if (const std::uint64_t bits = use_.nr_bits % bits_per_word; use_.last && bits != 0) {
    set64("surplus bit", last, {get64(last) | 1ull << 63, get64(last) | 1ull << bits},
          {expectation::error, true, false});
  }
}

void mutator::index_fields() {
  const auto& index = original_.as<pd::index_block>();
  const std::uint64_t nr_blocks = subject_.metadata[0].as<superblock>().space_map.nr_blocks;
  for (std::uint32_t i = 0; i < pd::bitmaps_for(nr_blocks); ++i) {
    const pd::index_entry& entry = index.entries[i];
    const std::size_t at = offsetof(pd::index_block, entries) + i * sizeof entry;
    pointer("index pointer", at, role::bitmap);
    const std::uint64_t free = entry.nr_free;
    set32("index free count", at + offsetof(pd::index_entry, nr_free),
          {0, free - 1, free + 1, pd::counts_per_bitmap + 1, most});
    const auto& bitmap = subject_.metadata[entry.blocknr].as<pd::bitmap_block>();
    std::uint32_t first_free = 0;
    while (first_free < pd::counts_per_bitmap && pd::count_at(bitmap, first_free) != 0)
      ++first_free;
    set32("index bound", at + offsetof(pd::index_entry, none_free_before),
          {first_free + 1, pd::counts_per_bitmap, most});
  }
}

// The images have one bitmap each.
void mutator::bitmap_fields() {
  const auto& bitmap = original_.as<pd::bitmap_block>();
  const std::uint64_t nr_blocks = subject_.metadata[0].as<superblock>().space_map.nr_blocks;
  const auto set = [&](std::string_view kind, std::uint32_t i, std::uint32_t count, options o) {
    emit_prepared(
        kind, fmt::format("block {}: {}, was {}", i, count, pd::count_at(bitmap, i)),
        [&](pd::block& b) { pd::set_count(b.as<pd::bitmap_block>(), i, count); }, o);
  };
  for (const auto& [nr, use] : subject_.roles) {
    const auto i = static_cast<std::uint32_t>(nr);
    const std::uint32_t was = pd::count_at(bitmap, i);
    for (std::uint32_t count = 0; count < was; ++count) set("count lowered", i, count, {});
    // A count too high in the bitmap alone is a leak, and says so; that of 3 is not in the tree.
    for (std::uint32_t count = was + 1; count < pd::count_in_tree; ++count)
      set("count raised", i, count, {expectation::leak, false});
    if (was < pd::count_in_tree) set("count raised", i, pd::count_in_tree, {});
  }
  for (const std::uint64_t nr : subject_.free)
    for (std::uint32_t count = 1; count <= pd::count_in_tree; ++count)
      set("count of a free block", static_cast<std::uint32_t>(nr), count, {});
  for (const std::uint64_t nr : {nr_blocks, std::uint64_t{pd::counts_per_bitmap - 1}})
    for (std::uint32_t count = 1; count <= pd::count_in_tree; ++count)
      set("count past the end", static_cast<std::uint32_t>(nr), count, {});
}

}  // namespace era::test
