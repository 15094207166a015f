// SPDX-License-Identifier: GPL-3.0-or-later
// Builds the space map of a device whose blocks are all used once, itself included.
#pragma once

#include <cstdint>

#include "persistent-data/format/space_map.h"
#include "persistent-data/write/block_writer.h"

namespace persistent_data {

// Returns the number of blocks that the space map of a device of this size takes.
std::uint64_t space_map_space_for(std::uint64_t nr_blocks) noexcept;

// After all else: counts what the writer has given out, and its own blocks. Nothing but the
// superblock may be written afterwards.
disk_sm_root build_space_map(block_writer&);

}  // namespace persistent_data
