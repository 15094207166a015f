// SPDX-License-Identifier: GPL-3.0-or-later
// 1. Computes how many blocks are in use once the space map is written.
// 2. Writes an empty tree of large counts.
// 3. Writes each bitmap: blocks in use have a count of 1 and come before the free ones.
// 4. Writes the index, which lists the bitmaps.
#include "persistent-data/write/space_map_builder.h"

#include <algorithm>
#include <cassert>

#include "persistent-data/write/btree_builder.h"

namespace persistent_data {

std::uint64_t space_map_space_for(std::uint64_t nr_blocks) noexcept {
  // Bitmaps, their index, and the empty tree of large counts.
  return bitmaps_for(std::min(nr_blocks, max_metadata_blocks)) + 2;
}

disk_sm_root build_space_map(block_writer& writer) {
  const std::uint64_t used = writer.nr_used() + space_map_space_for(writer.nr_blocks());
  disk_sm_root root;
  root.nr_blocks = writer.nr_blocks();
  root.nr_allocated = used;
  root.ref_count_root = build_btree<le32>(writer, {}).value;

  block index{};
  for (std::uint32_t i = 0; i < bitmaps_for(writer.nr_blocks()); ++i) {
    const std::uint64_t begin = std::uint64_t{i} * counts_per_bitmap;
    const auto here = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(counts_per_bitmap, used > begin ? used - begin : 0));
    block b{};
    for (std::uint32_t k = 0; k < here; ++k) set_count(b.as<bitmap_block>(), k, 1);
    auto& entry = index.as<index_block>().entries[i];
    entry.blocknr = writer.append(space_map_bitmap_kind, b).value;
    // As the kernel counts: what lies past the device's end is free.
    entry.nr_free = counts_per_bitmap - here;
    entry.none_free_before = here;
  }
  root.bitmap_root = writer.append(space_map_index_kind, index).value;
  assert(writer.nr_used() == used);
  return root;
}

}  // namespace persistent_data
