// SPDX-License-Identifier: GPL-3.0-or-later
// Trees of every size at which a level begins, read back by the walk.
#include "persistent-data/write/btree_builder.h"

#include <gtest/gtest.h>

#include "persistent-data/testing/building_site.h"

namespace persistent_data {
namespace {

using test::building_site;
using test::damage_log;
using test::reader;

struct built_tree {
  std::vector<std::uint64_t> keys, values, leaf_sizes;
  std::uint64_t nr_nodes = 0;
};

built_tree build_and_walk(std::uint64_t n) {
  building_site s(3000);
  std::vector<btree_entry<le64>> entries;
  for (std::uint64_t i = 0; i < n; ++i) entries.push_back({5 + 3 * i, i * i});
  const block_nr root = build_btree<le64>(s.writer, entries);
  s.queue->drain_and_flush();
  reader r(s.disk);
  damage_log damages;
  built_tree built;
  r.walk.walk({}, root, sizeof(le64),
              {[&](block_nr, const node_view& node) {
                 built.leaf_sizes.push_back(node.size());
                 for (std::uint32_t i = 0; i < node.size(); ++i) {
                   built.keys.push_back(node.key(i));
                   built.values.push_back(node.value<le64>(i));
                 }
               },
               [&](range) { ADD_FAILURE() << "lost keys"; }, damages.sink()});
  EXPECT_EQ(damages.text(), "");
  built.nr_nodes = s.writer.nr_used() - 1;
  EXPECT_EQ(root.value, built.nr_nodes);  // the last that is written
  return built;
}

TEST(BtreeBuilder, HoldsEveryEntryInEverySize) {
  constexpr std::uint64_t sizes[] = {
      0,   1,   83,  84,  251,       252,           253,          503,
      504, 505, 755, 757, 252 * 252, 252 * 252 + 1, 252 * 253 - 1};
  for (const std::uint64_t n : sizes) {
    SCOPED_TRACE(n);
    const built_tree built = build_and_walk(n);
    ASSERT_EQ(built.keys.size(), n);
    for (std::uint64_t i = 0; i < n; ++i) {
      ASSERT_EQ(built.keys[i], 5 + 3 * i);
      ASSERT_EQ(built.values[i], i * i);
    }
    EXPECT_EQ(built.nr_nodes, btree_nodes_for(n, sizeof(le64)));
  }
}

TEST(BtreeBuilder, LeavesNoNodeUnderfull) {
  for (std::uint64_t n = 1; n < 1100; n += 7) {
    const built_tree built = build_and_walk(n);
    if (built.leaf_sizes.size() == 1) continue;
    for (const std::uint64_t size : built.leaf_sizes) {
      EXPECT_GE(size, 252u / 3) << n;
      EXPECT_LE(size, 252u) << n;
    }
  }
  EXPECT_EQ(build_and_walk(253).leaf_sizes, (std::vector<std::uint64_t>{127, 126}));
  EXPECT_EQ(build_and_walk(504).leaf_sizes, (std::vector<std::uint64_t>{252, 252}));
  EXPECT_EQ(build_and_walk(505).leaf_sizes, (std::vector<std::uint64_t>{252, 127, 126}));
}

}  // namespace
}  // namespace persistent_data
