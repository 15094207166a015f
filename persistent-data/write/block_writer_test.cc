// SPDX-License-Identifier: GPL-3.0-or-later
// Every block is given out, prepared and written.
#include "persistent-data/write/block_writer.h"

#include <gtest/gtest.h>

#include "persistent-data/testing/building_site.h"

namespace persistent_data {
namespace {

using test::building_site;

TEST(BlockWriter, GivesOutAllBlocksButTheFirst) {
  building_site s(4);
  EXPECT_EQ(s.writer.nr_used(), 1u);
  for (std::uint64_t i = 1; i < 4; ++i) {
    block b{};
    EXPECT_EQ(s.writer.append(btree_node_kind, b), block_nr{i});
  }
  EXPECT_EQ(s.writer.nr_used(), 4u);
  block b{};
  try {
    s.writer.append(btree_node_kind, b);
    FAIL() << "a fifth block";
  } catch (const no_space& e) {
    EXPECT_STREQ(e.what(), "all of its 4 metadata blocks are full");
  }
  s.queue->drain_and_flush();
  for (std::uint64_t i = 1; i < 4; ++i) EXPECT_FALSE(validate(btree_node_kind, s.disk[{i}], {i}));
  EXPECT_TRUE(is_zero(s.disk[{0}]));
}

TEST(BlockWriter, KnowsTheLimitOfASpaceMap) {
  building_site s(4);
  EXPECT_EQ(block_writer(*s.queue, max_metadata_blocks + 1).nr_blocks(), max_metadata_blocks);
  EXPECT_EQ(block_writer(*s.queue, max_metadata_blocks - 1).nr_blocks(), max_metadata_blocks - 1);
}

}  // namespace
}  // namespace persistent_data
