// SPDX-License-Identifier: GPL-3.0-or-later
// What is built is read back by the readers, which trust nothing: trees, arrays, bitsets and the
// space map, of every size at which something begins.
#include <gtest/gtest.h>

#include "persistent-data/read/array_map.h"
#include "persistent-data/read/space_map_reader.h"
#include "persistent-data/testing/faulty_device.h"
#include "persistent-data/write/bitset_builder.h"
#include "persistent-data/write/btree_builder.h"
#include "persistent-data/write/space_map_builder.h"

namespace persistent_data {
namespace {

using test::damage_log;
using test::reader;
using test::scratch_device;

// A device, and a writer onto it.
struct site {
  explicit site(std::uint64_t nr_blocks) : disk(nr_blocks), writer(*queue, nr_blocks) {}

  // The values of an array with this root; every block of it is sound.
  template <class Value>
  std::vector<std::uint64_t> array(block_nr root, std::uint64_t nr_values) {
    queue->drain_and_flush();
    reader r(disk);
    damage_log damages;
    const array_map map = map_array(r.walk, {}, root, nr_values, sizeof(Value), damages.sink());
    EXPECT_EQ(damages.text(), "");
    std::vector<std::uint64_t> values;
    for (std::uint64_t i = 0; i < map.nr_blocks(); ++i) {
      const block& b = disk[*map.block(i)];
      EXPECT_FALSE(map.validate_block(i, &b, 0));
      for (const Value& v : array_values<Value>(b)) values.push_back(v);
    }
    return values;
  }

  scratch_device disk;
  test::faulty_device device{disk};
  std::unique_ptr<write_queue> queue = device.make_queue();
  block_writer writer;
};

// --- Blocks.

TEST(BlockWriter, GivesOutAllBlocksButTheFirst) {
  site s(4);
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
  site s(4);
  EXPECT_EQ(block_writer(*s.queue, max_metadata_blocks + 1).nr_blocks(), max_metadata_blocks);
  EXPECT_EQ(block_writer(*s.queue, max_metadata_blocks - 1).nr_blocks(), max_metadata_blocks - 1);
}

// --- Trees.

struct built_tree {
  std::vector<std::uint64_t> keys, values, leaf_sizes;
  std::uint64_t nr_nodes = 0;
};

built_tree build_and_walk(std::uint64_t n) {
  site s(3000);
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

TEST(BtreeBuilder, CountsItsNodesAhead) {
  EXPECT_EQ(btree_nodes_for(0, 8), 1u);
  EXPECT_EQ(btree_nodes_for(252, 8), 1u);
  EXPECT_EQ(btree_nodes_for(253, 8), 3u);
  EXPECT_EQ(btree_nodes_for(201, 12), 1u);
  EXPECT_EQ(btree_nodes_for(202, 12), 3u);
  EXPECT_EQ(btree_nodes_for(252 * 252, 8), 253u);
  EXPECT_EQ(btree_nodes_for(252 * 252 + 1, 8), 253u + 1 + 2);
}

TEST(BtreeBuilder, IsDeepEnoughForTheLargestArray) {
  // 2^31 - 1 eras: more than 252 * 252 * 32 blocks would be a fourth level.
  const std::uint64_t blocks = array_blocks_for(0x7fffffff, 4);
  EXPECT_EQ(blocks, 2109513u);
  const std::uint64_t leaves = (blocks + 251) / 252, parents = (leaves + 251) / 252;
  EXPECT_EQ(btree_nodes_for(blocks, 8), leaves + parents + 1);
}

// --- Arrays.

TEST(ArrayBuilder, HoldsEveryValueInEverySize) {
  constexpr std::uint64_t sizes[] = {0,    1,    1017,           1018,       1019,
                                     2036, 2037, 252 * 1018 - 1, 252 * 1018, 252 * 1018 + 1};
  for (const std::uint64_t n : sizes) {
    SCOPED_TRACE(n);
    site s(400);
    array_builder<le32> builder(s.writer);
    for (std::uint64_t i = 0; i < n; ++i) {
      ASSERT_EQ(builder.size(), i);
      builder.append(static_cast<std::uint32_t>(i * 7));
    }
    const block_nr root = builder.finish();
    EXPECT_EQ(s.writer.nr_used() - 1, array_space_for(n, sizeof(le32)));
    const auto values = s.array<le32>(root, n);
    ASSERT_EQ(values.size(), n);
    for (std::uint64_t i = 0; i < n; ++i) ASSERT_EQ(values[i], i * 7);
  }
}

TEST(ArrayBuilder, TakesRuns) {
  site s(100);
  array_builder<le32> builder(s.writer);
  std::vector<std::uint64_t> wanted;
  for (const unsigned run : {3u, 1015u, 1u, 1018u, 5000u, 0u, 2u}) {
    builder.append(run, run + 1);
    wanted.insert(wanted.end(), run, run + 1);
  }
  EXPECT_EQ(builder.size(), wanted.size());
  EXPECT_EQ(s.array<le32>(builder.finish(), wanted.size()), wanted);
}

// What an earlier block held must not show behind the last value.
TEST(ArrayBuilder, LeavesZerosBehindItsEnd) {
  site s(100);
  array_builder<le32> builder(s.writer);
  builder.append(1018 + 3, 0xffffffff);
  builder.finish();
  s.queue->drain_and_flush();
  const auto& last = s.disk[{2}];
  EXPECT_EQ(last.as<array_header>().nr_entries, 3u);
  for (std::size_t at = sizeof(array_header) + 12; at < block_size; ++at)
    ASSERT_EQ(last.bytes[at], std::byte{0}) << at;
}

// --- Bitsets.

std::vector<std::uint64_t> bitset_words(const std::vector<range>& set, std::uint64_t nr_bits) {
  site s(200);
  bitset_builder builder(s.writer);
  for (const range& bits : set) builder.set(bits);
  const block_nr root = builder.finish(nr_bits);
  return s.array<le64>(root, (nr_bits + 63) / 64);
}

TEST(BitsetBuilder, SetsTheBitsThatItIsTold) {
  constexpr std::uint64_t all = ~std::uint64_t{0};
  using words = std::vector<std::uint64_t>;
  EXPECT_EQ(bitset_words({}, 0), words());
  EXPECT_EQ(bitset_words({}, 1), words{0});
  EXPECT_EQ(bitset_words({{0, 1}}, 1), words{1});
  EXPECT_EQ(bitset_words({{0, 1}, {2, 3}, {63, 64}}, 64), words{5 + (1ull << 63)});
  EXPECT_EQ(bitset_words({{0, 64}}, 65), (words{all, 0}));
  EXPECT_EQ(bitset_words({{63, 65}}, 65), (words{1ull << 63, 1}));
  EXPECT_EQ(bitset_words({{64, 128}}, 200), (words{0, all, 0, 0}));
  EXPECT_EQ(bitset_words({{1, 199}}, 200), (words{all - 1, all, all, 127}));
  EXPECT_EQ(bitset_words({{10, 10}, {150, 151}}, 192), (words{0, 0, 1 << 22}));
}

TEST(BitsetBuilder, AgreesWithBitsOneByOne) {
  // Runs and gaps that cross words and blocks of 509 words in all ways.
  std::vector<range> set;
  std::uint64_t at = 0, step = 1;
  while (at < 3 * 32576) {
    set.push_back({at, at + step % 131});
    at += step % 131 + step % 977;
    step = step * 5 + 3;
  }
  const std::uint64_t nr_bits = set.back().end + 1;
  const auto words = bitset_words(set, nr_bits);
  std::vector<std::uint64_t> wanted((nr_bits + 63) / 64);
  for (const range& bits : set)
    for (std::uint64_t i = bits.begin; i < bits.end; ++i) wanted[i / 64] |= 1ull << i % 64;
  EXPECT_EQ(words, wanted);
}

// --- The space map.

// Builds it behind `content` other blocks.
void expect_space_map(std::uint64_t nr_blocks, std::uint64_t content) {
  SCOPED_TRACE(fmt::format("{} of {}", content, nr_blocks));
  site s(nr_blocks);
  for (std::uint64_t i = 0; i < content; ++i) {
    block b{};
    s.writer.append(btree_node_kind, b);
  }
  const disk_sm_root root = build_space_map(s.writer);
  s.queue->drain_and_flush();
  const std::uint64_t used = 1 + content + space_map_space_for(nr_blocks);
  EXPECT_EQ(s.writer.nr_used(), used);
  EXPECT_EQ(root.nr_blocks, nr_blocks);
  EXPECT_EQ(root.nr_allocated, used);

  reader r(s.disk);
  damage_log damages;
  const space_map map = read_space_map(r.walk, root, damages.sink());
  EXPECT_EQ(damages.text(), "");
  for (std::uint64_t i = 0; i < nr_blocks; ++i) ASSERT_EQ(map.count({i}), i < used ? 1u : 0u) << i;
  // As the kernel counts: entries past the device's end are free.
  const auto& index = s.disk[{root.bitmap_root}].as<index_block>();
  std::uint64_t free = 0;
  for (std::uint32_t i = 0; i < bitmaps_for(nr_blocks); ++i) free += index.entries[i].nr_free;
  EXPECT_EQ(free, std::uint64_t{bitmaps_for(nr_blocks)} * counts_per_bitmap - used);
}

TEST(SpaceMapBuilder, CountsEveryBlockOnceItsOwnToo) {
  expect_space_map(4, 0);  // all in use
  expect_space_map(100, 7);
  expect_space_map(16320, 16316);
  expect_space_map(16320, 10);
  expect_space_map(16321, 10);
  // Its own blocks reach into the second bitmap.
  expect_space_map(40000, 16317);
  expect_space_map(40000, 39994);
}

TEST(SpaceMapBuilder, HasNoRoomWhereOneBlockIsMissing) {
  EXPECT_THROW(expect_space_map(3, 0), no_space);
  EXPECT_THROW(expect_space_map(16320, 16317), no_space);
}

}  // namespace
}  // namespace persistent_data
