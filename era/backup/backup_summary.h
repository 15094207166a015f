// SPDX-License-Identifier: GPL-3.0-or-later
// The account of a finished backup, for programs.
#pragma once

#include <cstdint>
#include <string>

#include "era/backup/backup_state.h"
#include "era/backup/block_copier.h"

namespace era {

struct backup_summary {
  const backup_state& state;  // that the backup left
  bool next_era_is_known = true;
  std::uint32_t written_since = 0;
  const copy_report& copied;
  std::uint64_t in_doubt = 0;  // blocks that were copied only because damage hides their era
  bool verified = false;
};

// Returns a JSON document, ended by a newline. Throws invalid_input if a path is no UTF-8.
std::string to_json(const backup_summary&);

}  // namespace era
