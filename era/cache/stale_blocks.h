// SPDX-License-Identifier: GPL-3.0-or-later
// Lists the blocks of a dm-cache that hold data of changed blocks of an era device below it.
#pragma once

#include <cstdint>
#include <string>

#include "era/cache/cache_dump.h"
#include "era/format/units.h"
#include "era/metadata/block_set.h"
#include "era/xml/reader.h"

namespace era {

// The place of an era device within the volume that is cached.
struct era_device_place {
  std::uint64_t offset = 0;      // sectors of the volume before the era device
  std::uint32_t block_size = 0;  // sectors of an era block; not 0
  std::uint32_t nr_blocks = 0;   // era blocks; the last one counts as whole
};

// Returns the blocks of the era device that the sectors [begin, end) of the volume overlap. Empty
// if they lie before the era device or after it. No argument can overflow.
origin_range era_blocks_of(const era_device_place&, std::uint64_t begin, std::uint64_t end);

struct stale_blocks {
  explicit stale_blocks(const cache_geometry& g) : cache(g), blocks(g.nr_blocks) {}

  cache_geometry cache;
  block_set blocks;  // of the cache
  std::uint64_t listed = 0;
  std::uint64_t dirty = 0;  // of those
};

// Returns the cache blocks that are stale after the changed blocks of the era device were rolled
// back:
// - each that overlaps a changed block;
// - each that is dirty and overlaps the era device: its last write has not reached the era device,
//   so the era device cannot know it.
// dump, name and exceptions are as of read_cache_dump. The memory is that of read_cache_dump and of
// one block_set; each mapping costs a look-up in `changed`.
stale_blocks list_stale_blocks(const xml::byte_source& dump, const std::string& name,
                               const block_set& changed, const era_device_place&);

}  // namespace era
