// SPDX-License-Identifier: GPL-3.0-or-later
// For tests of what builds blocks: a device, a writer onto it, and what the readers, which trust
// nothing, make of what was built.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "persistent-data/read/array_map.h"
#include "persistent-data/testing/counts.h"
#include "persistent-data/testing/faulty_device.h"
#include "persistent-data/write/block_writer.h"

namespace persistent_data::test {

struct building_site {
  explicit building_site(std::uint64_t nr_blocks) : disk(nr_blocks), writer(*queue, nr_blocks) {}

  // The values of an array with this root; every block of it is sound.
  template <class Value>
  std::vector<std::uint64_t> array(block_nr root, std::uint64_t nr_values) {
    queue->drain_and_flush();
    reader r(disk);
    damage_log damages;
    const array_map map = map_array(r.walk, {}, root, {nr_values, sizeof(Value)}, damages.sink());
    EXPECT_EQ(damages.text(), "");
    std::vector<std::uint64_t> values;
    for (std::uint64_t i = 0; i < map.nr_blocks(); ++i) {
      const block& b = disk[*map.block(i)];
      EXPECT_FALSE(map.validate_block(i, &b, 0));
      for (const Value& v : array_values<Value>(b)) values.push_back(v);
    }
    return values;
  }

  // The count of each block, in a sound space map.
  std::vector<std::uint32_t> counts(const disk_sm_root& root) {
    queue->drain_and_flush();
    return counts_on(disk, root);
  }

  scratch_device disk;
  faulty_device device{disk};
  std::unique_ptr<write_queue> queue = device.make_queue();
  block_writer writer;
};

}  // namespace persistent_data::test
