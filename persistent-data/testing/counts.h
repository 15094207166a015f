// SPDX-License-Identifier: GPL-3.0-or-later
// For tests of what writes space maps: the counts as the readers see them, and whether they are
// those of the references that there are.
#pragma once

#include <cstdint>
#include <vector>

#include "persistent-data/format/space_map.h"
#include "persistent-data/testing/scratch_device.h"

namespace persistent_data::test {

// The count of each block, in a space map that must be sound.
std::vector<std::uint32_t> counts_on(const scratch_device&, const disk_sm_root&);

// A tree, of whose values nothing is referred to, or an array.
struct expected_root {
  block_nr root;
  std::uint32_t tree_value_size = 0;  // 0: an array
  std::uint64_t array_size = 0;
  std::uint32_t array_value_size = sizeof(le32);
};

// All of these must be sound, and the space map must count each reference of theirs and of its own.
// A root that comes twice has two references.
void expect_exact_counts(const scratch_device&, const disk_sm_root&,
                         const std::vector<expected_root>&);

}  // namespace persistent_data::test
