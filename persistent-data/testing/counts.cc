// SPDX-License-Identifier: GPL-3.0-or-later
// The walks note the references, and the space map is held against them, block by block.
#include "persistent-data/testing/counts.h"

#include <gtest/gtest.h>

#include "persistent-data/read/array_map.h"
#include "persistent-data/read/space_map_reader.h"

namespace persistent_data::test {
namespace {

std::vector<std::uint32_t> counts_in(reader& r, const disk_sm_root& root) {
  damage_log damages;
  const space_map map = read_space_map(r.walk, root, damages.sink());
  EXPECT_EQ(damages.text(), "");
  std::vector<std::uint32_t> counts;
  for (std::uint64_t b = 0; b < root.nr_blocks; ++b) {
    const auto count = map.count({b});
    EXPECT_TRUE(count) << "block " << b;
    counts.push_back(count.value_or(0));
  }
  return counts;
}

}  // namespace

std::vector<std::uint32_t> counts_on(const scratch_device& disk, const disk_sm_root& root) {
  reader r(disk);
  return counts_in(r, root);
}

void expect_exact_counts(const scratch_device& disk, const disk_sm_root& root,
                         const std::vector<expected_root>& roots) {
  reader r(disk);
  damage_log damages;
  const btree_events events{[](block_nr, const node_view&) {}, [](range) {}, damages.sink()};
  for (const expected_root& expected : roots) {
    if (expected.tree_value_size != 0)
      r.walk.walk({}, expected.root, expected.tree_value_size, events);
    else
      map_array(r.walk, {}, expected.root, {expected.array_size, expected.array_value_size},
                damages.sink());
    r.counter.next_view();
  }
  const auto counts = counts_in(r, root);
  EXPECT_EQ(damages.text(), "");
  for (std::uint64_t b = 0; b < counts.size(); ++b)
    ASSERT_EQ(counts[b], r.counter.references({b})) << "block " << b;
}

}  // namespace persistent_data::test
