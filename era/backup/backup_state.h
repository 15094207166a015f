// SPDX-License-Identifier: GPL-3.0-or-later
// The state between two backups of a device: the era to ask for next, and all that tells whether
// the next backup goes on from this one. A JSON document.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "era/backup/witness.h"
#include "era/format/units.h"

namespace era {

struct backup_state {
  // The next era while a full backup is being written: no block of the target can be relied on.
  static constexpr std::uint32_t incomplete = 0;
  bool is_complete() const noexcept { return next_era != incomplete; }

  std::string source;              // as it was named
  std::uint64_t source_bytes = 0;  // its size
  std::uint32_t block_size = 0;    // sectors
  std::uint32_t nr_blocks = 0;
  std::uint32_t current_era = 0;  // of the metadata that was read
  // Blocks of this era or later are not in the backup yet.
  std::uint32_t next_era = incomplete;
  std::vector<witness> witnesses;
  std::vector<origin_range> unread;  // blocks that the source did not give, ascending
  std::string target, format;        // the backup: an absolute path or an NBD URI; raw or qcow2
  // Is the target a block device? Its path may lead to a file by now, or the other way round.
  bool target_is_device = false;
};

// Returns the document, ended by a newline. Texts have to be UTF-8: throws invalid_input if one is
// not.
std::string to_json(const backup_state&);

// Throws invalid_input, which names what is wrong, and the line if the text is no JSON: it must be
// a document of to_json, whole and consistent.
backup_state backup_state_of_json(std::string_view);

}  // namespace era
