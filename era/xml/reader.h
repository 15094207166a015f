// SPDX-License-Identifier: GPL-3.0-or-later
// Reads the XML of era metadata, in full or compact form, and hands it over element by element.
// Anything that is not of this dialect is an error that names the file, the line and the element.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "era/format/superblock.h"
#include "persistent-data/format/errors.h"

namespace era::xml {

struct superblock_element {
  std::uint32_t block_size = 0;  // sectors
  std::uint32_t nr_blocks = 0;
  era_nr current_era;
  uuid_bytes uuid{};
};

// Takes the elements as they come; neighbouring blocks of the same value may come as one run. Each
// function may throw invalid_input, and the reader says where; bits() and eras() then have taken
// none of the blocks.
class element_sink {
 public:
  virtual ~element_sink() = default;
  virtual void begin_superblock(const superblock_element&) = 0;
  virtual void begin_writeset(era_nr, std::uint32_t nr_bits) = 0;
  // Bits [begin, end) of the writeset are set, or are not.
  virtual void bits(origin_range blocks, bool value) = 0;
  virtual void end_writeset() = 0;
  virtual void begin_era_array() = 0;
  // Origin blocks [begin, end) have this era.
  virtual void eras(origin_range blocks, era_nr) = 0;
  virtual void end_era_array() = 0;
  virtual void end_superblock() = 0;
};

// Fills the buffer with up to size bytes of the document and returns how many; 0 at its end. May
// throw.
using byte_source = std::function<std::size_t(char* buffer, std::size_t size)>;

// Lines that are written as era_dump writes them need not go through the XML parser. The result
// does not depend on it, only the speed.
enum class shortcut { taken, not_taken };

struct read_options {
  shortcut way = shortcut::taken;
  // If set, the number of bytes that have been read and handed over, updated all the time.
  std::uint64_t* consumed = nullptr;
};

// Reads to the end; name is the file's for messages. Throws invalid_input, with file and line, also
// for one of the document; all other exceptions of source and document pass through.
void read(const byte_source&, const std::string& name, element_sink&, const read_options& = {});

}  // namespace era::xml
