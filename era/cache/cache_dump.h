// SPDX-License-Identifier: GPL-3.0-or-later
// Reads the XML that cache_dump (thin-provisioning-tools) prints of dm-cache metadata. Anything
// that cache_dump does not print of sound metadata is an error that names the file and the line.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "era/xml/reader.h"

namespace era {

struct cache_geometry {
  std::uint32_t block_size = 0;  // sectors
  std::uint32_t nr_blocks = 0;   // of the cache
};

// A block of the cache, and the block of the cached volume that it holds; both have block_size
// sectors. The volume's block ends at max_volume_sectors or before.
struct cache_mapping {
  std::uint32_t cache_block = 0;
  std::uint64_t volume_block = 0;
  bool is_dirty = false;  // its content is newer than the volume's
};

// dm-cache takes blocks of 32 KiB to 1 GiB, in steps of 32 KiB.
inline constexpr std::uint32_t cache_block_unit = 64, max_cache_block_size = 1 << 21;
// The kernel counts a device's bytes with 63 bits.
inline constexpr std::uint64_t max_volume_sectors = std::uint64_t{1} << 54;

// Takes the content of a dump. Each function may throw.
class cache_mapping_sink {
 public:
  virtual ~cache_mapping_sink() = default;
  // Called once, before add.
  virtual void begin(const cache_geometry&) = 0;
  // Cache blocks ascend, and each is below nr_blocks. Whether a volume block comes twice is known
  // only after the last one.
  virtual void add(const cache_mapping&) = 0;
};

// Reads to the end; name is the file's for messages. Nothing that the sink took counts if this
// throws: invalid_input if the text is not such a dump, or all that source and sink throw. Memory:
// up to 64 MiB, and a file in TMPDIR for what does not fit (16 bytes a mapping).
void read_cache_dump(const xml::byte_source&, const std::string& name, cache_mapping_sink&);

}  // namespace era
