// SPDX-License-Identifier: GPL-3.0-or-later
// Space maps that are whole, in every writer's manner; those that contradict themselves, in every
// point; and those of which parts are lost.
#include "persistent-data/read/space_map_reader.h"

#include <gtest/gtest.h>

#include <limits>

#include "persistent-data/testing/blocks.h"
#include "persistent-data/testing/scratch_device.h"

namespace persistent_data {
namespace {

using test::damage_log;
using test::layout;
using test::reader;
using test::scratch_device;

// A device of three bitmaps, the last of 100 blocks; 40 blocks in use at its beginning, of which
// some have more references, and some more in the other bitmaps.
class SpaceMap : public testing::Test {
 protected:
  static constexpr std::uint64_t nr_blocks = 2 * 16320 + 100;

  SpaceMap() {
    layout lay(device);
    while (lay.nr_taken() < 40) lay.take();
    for (const auto& [block, count] : counts) lay.count({block}) = count;
    laid = lay.space_map();
    used = lay.nr_taken() + 6;
  }

  space_map read(engine_choice engine = engine_choice::automatic) {
    damages.all.clear();
    reader_.emplace(device, engine);
    return read_space_map(reader_->walk, laid.root, damages.sink());
  }

  // Reads it, and returns the reported damage.
  std::string report() {
    read();
    return damages.text();
  }

  template <class Change>
  void change_entry(std::size_t i, Change change) {
    test::change_and_prepare<index_block>(space_map_index_kind, device[laid.index], laid.index,
                                          [&](auto& index) { change(index.entries[i]); });
  }

  void set(std::uint64_t block, std::uint32_t count) {
    const block_nr bitmap = laid.bitmaps[block / 16320];
    test::change_and_prepare<bitmap_block>(
        space_map_bitmap_kind, device[bitmap], bitmap,
        [&](auto& b) { set_count(b, static_cast<std::uint32_t>(block % 16320), count); });
  }

  // Replaces the tree of large counts by one leaf.
  void set_large(const std::vector<std::uint64_t>& keys, const std::vector<le32>& values) {
    device[laid.large.root] = test::make_leaf(laid.large.root, keys, values);
  }

  const std::vector<std::pair<std::uint64_t, std::uint32_t>> counts{
      {3, 2},     {5, 3},     {6, 4},         {7, 0xffffffff}, {16319, 1},
      {16320, 2}, {20000, 3}, {32639, 70000}, {32640, 7},      {nr_blocks - 1, 1}};
  scratch_device device{nr_blocks};
  test::laid_space_map laid;
  std::uint64_t used = 0;
  std::optional<reader> reader_;
  damage_log damages;
};

TEST_F(SpaceMap, IsReadWhole) {
  for (const auto engine : {engine_choice::sync, engine_choice::aio, engine_choice::uring}) {
    const space_map map = read(engine);
    EXPECT_EQ(damages.text(), "");
    ASSERT_EQ(map.nr_blocks(), nr_blocks);
    std::vector<std::optional<std::uint32_t>> expected(nr_blocks, 0);
    for (std::uint64_t b = 0; b < used - 6; ++b) expected[b] = 1;
    for (const auto& [block, count] : counts) expected[block] = count;
    for (std::uint64_t b = 0; b < nr_blocks; ++b) ASSERT_EQ(map.count({b}), expected[b]) << b;
  }
}

TEST_F(SpaceMap, NotesItsOwnBlocks) {
  read();
  for (std::uint64_t b = 1; b < used - 6; ++b)
    EXPECT_EQ(reader_->counter.references({b}), b < 40 ? 0u : 1u) << b;
}

// The kernel takes what lies past the end for free; other writers count only what there is.
TEST_F(SpaceMap, BothMannersOfCountingFreeBlocks) {
  EXPECT_EQ(device[laid.index].as<index_block>().entries[2].nr_free, 16320u - 2);
  EXPECT_EQ(report(), "");
  change_entry(2, [](auto& entry) { entry.nr_free = 98; });
  EXPECT_EQ(report(), "");
  for (const std::uint32_t wrong : {97u, 99u, 100u, 16317u, 16319u, 16320u, 0u, 0xffffffffu}) {
    change_entry(2, [&](auto& entry) { entry.nr_free = wrong; });
    EXPECT_EQ(report(),
              fmt::format("{}: bad-value [0, 0) the index says that bitmap 2 has {} free blocks, "
                          "and it has 98\n",
                          laid.index, wrong));
  }
}

TEST_F(SpaceMap, AWrongFreeCountOfAFullBitmap) {
  const std::uint32_t right = device[laid.index].as<index_block>().entries[0].nr_free;
  for (const std::uint32_t wrong : {right - 1, right + 1}) {
    change_entry(0, [&](auto& entry) { entry.nr_free = wrong; });
    EXPECT_EQ(report(),
              fmt::format("{}: bad-value [0, 0) the index says that bitmap 0 has {} free blocks, "
                          "and it has {}\n",
                          laid.index, wrong, right));
  }
}

// A lower bound may be low.
TEST_F(SpaceMap, TheBoundOfTheFirstFreeBlock) {
  const auto first_free = static_cast<std::uint32_t>(used - 6);
  for (const std::uint32_t bound : {0u, 1u, first_free - 1, first_free}) {
    change_entry(0, [&](auto& entry) { entry.none_free_before = bound; });
    EXPECT_EQ(report(), "") << bound;
  }
  for (const std::uint32_t bound : {first_free + 1, 16320u, 0xffffffffu}) {
    change_entry(0, [&](auto& entry) { entry.none_free_before = bound; });
    EXPECT_EQ(
        report(),
        fmt::format("{}: bad-value [0, 0) the index says that bitmap 0 has nothing free before "
                    "entry {}, and entry {} is\n",
                    laid.index, bound, first_free));
  }
}

TEST_F(SpaceMap, AWrongNumberOfBlocksInUse) {
  ASSERT_EQ(laid.root.nr_allocated, used);
  for (const std::uint64_t wrong : {used - 1, used + 1, std::uint64_t{0}}) {
    laid.root.nr_allocated = wrong;
    EXPECT_EQ(
        report(),
        fmt::format("0: bad-value [0, 0) the superblock says that {} blocks are in use, and the "
                    "space map counts {}\n",
                    wrong, used));
  }
}

TEST_F(SpaceMap, CountsPastTheEnd) {
  set(nr_blocks, 1);
  set(nr_blocks + 1000, 3);
  EXPECT_EQ(report(), fmt::format("{}: bad-value [0, 0) the bitmap counts references of 2 blocks "
                                  "past the metadata's end\n",
                                  laid.bitmaps[2]));
}

TEST_F(SpaceMap, ALargeCountThatIsNotInTheTree) {
  set(8, 3);
  const space_map map = read();
  EXPECT_EQ(
      damages.text(),
      fmt::format("{}: missing [8, 9) the bitmap says that the count of block 8 is in the tree "
                  "of large counts, and it is not\n",
                  laid.bitmaps[0]));
  EXPECT_EQ(map.count({8}), std::nullopt);
}

TEST_F(SpaceMap, TheLastLargeCountIsNotInTheTree) {
  set(nr_blocks - 1, 3);
  EXPECT_EQ(read().count({nr_blocks - 1}), std::nullopt);
  ASSERT_EQ(damages.all.size(), 1u);
  EXPECT_EQ(damages.all[0].hidden, (range{nr_blocks - 1, nr_blocks}));
}

TEST_F(SpaceMap, ACountInTheTreeThatTheBitmapContradicts) {
  for (const auto& [block, in_words] :
       {std::pair<std::uint64_t, const char*>{5, "1"}, {32639, "2"}, {32640, "1"}}) {
    set(block, static_cast<std::uint32_t>(*in_words - '0'));
    const space_map map = read();
    EXPECT_EQ(
        damages.text(),
        fmt::format("{}: bad-value [0, 0) the tree of large counts has block {}, whose bitmap "
                    "says {}\n",
                    laid.large.root, block, in_words));
    EXPECT_EQ(map.count({block}), static_cast<std::uint32_t>(*in_words - '0'));
    set(block, 3);
  }
}

TEST_F(SpaceMap, ACountThatIsTooSmallForTheTree) {
  set_large({5, 6, 7, 20000, 32639, 32640}, {3, 2, 4, 3, 0, 7});
  const space_map map = read();
  EXPECT_EQ(
      damages.text(),
      fmt::format("{0}: bad-value [0, 0) the tree of large counts says 2 for block 6; it holds "
                  "counts of 3 and more\n"
                  "{0}: bad-value [0, 0) the tree of large counts says 0 for block 32639; it "
                  "holds counts of 3 and more\n",
                  laid.large.root));
  EXPECT_EQ(map.count({7}), 4u);
}

TEST_F(SpaceMap, ACountInTheTreePastTheEnd) {
  for (const std::uint64_t past : {nr_blocks, std::uint64_t{1} << 32, (std::uint64_t{1} << 32) + 5,
                                   std::numeric_limits<std::uint64_t>::max() - 1}) {
    set_large({5, 6, 7, 20000, 32639, 32640, past}, {3, 4, 5, 3, 9, 7, 11});
    const space_map map = read();
    EXPECT_EQ(damages.text(),
              fmt::format("{}: bad-value [0, 0) the tree of large counts has block {}, past the "
                          "metadata's end\n",
                          laid.large.root, past));
    EXPECT_EQ(map.count({5}), 3u);
  }
}

// Nothing may be sized by a number that the device cannot hold, and no count is known then.
TEST_F(SpaceMap, AnImplausibleNumberOfBlocks) {
  for (const std::uint64_t wrong :
       {std::uint64_t{0}, nr_blocks + 1, max_metadata_blocks + 1, std::uint64_t{1} << 63,
        std::numeric_limits<std::uint64_t>::max()}) {
    laid.root.nr_blocks = wrong;
    const space_map map = read();
    EXPECT_EQ(map.nr_blocks(), 0u);
    EXPECT_EQ(
        damages.text(),
        fmt::format("0: bad-value [0, {0}) the space map counts {1} blocks, and there are {0}\n",
                    nr_blocks, wrong));
  }
}

TEST_F(SpaceMap, OfASmallerDeviceThanItIsOn) {
  scratch_device larger(nr_blocks + 50000);
  for (std::uint64_t b = 0; b < 100; ++b) larger[{b}] = device[{b}];
  reader r(larger);
  const space_map map = read_space_map(r.walk, laid.root, damages.sink());
  EXPECT_EQ(damages.text(), "");
  EXPECT_EQ(map.nr_blocks(), nr_blocks);
}

TEST_F(SpaceMap, ALostBitmap) {
  device.damage_block(laid.bitmaps[1]);
  laid.root.nr_allocated = 9999;  // cannot be compared
  const space_map map = read();
  EXPECT_EQ(damages.text(),
            fmt::format("{}: bad-checksum [16320, 32640) the checksum does not match "
                        "the content\n",
                        laid.bitmaps[1]));
  EXPECT_EQ(map.count({16319}), 1u);
  EXPECT_EQ(map.count({16320}), std::nullopt);
  EXPECT_EQ(map.count({32639}), std::nullopt);
  EXPECT_EQ(map.count({32640}), 7u);
}

TEST_F(SpaceMap, TheLastBitmapHidesNoMoreThanTheDevice) {
  device.damage_block(laid.bitmaps[2]);
  read();
  ASSERT_EQ(damages.all.size(), 1u);
  EXPECT_EQ(damages.all[0].hidden, (range{32640, nr_blocks}));
}

TEST_F(SpaceMap, PointersToBitmapsThatAreNone) {
  for (const auto& [pointer, what] :
       {std::pair<std::uint64_t, std::string>{0,
                                              "bad-pointer [16320, 32640) it points to the "
                                              "superblock"},
        {nr_blocks, fmt::format("bad-pointer [16320, 32640) it points to block {}, past the "
                                "metadata's end",
                                nr_blocks)},
        {laid.bitmaps[0].value,
         fmt::format("cross-linked [16320, 32640) it points to block {}, which "
                     "something else owns",
                     laid.bitmaps[0])},
        {laid.index.value, fmt::format("cross-linked [16320, 32640) it points to block {}, which "
                                       "something else owns",
                                       laid.index)}}) {
    change_entry(1, [&, p = pointer](auto& entry) { entry.blocknr = p; });
    const space_map map = read();
    EXPECT_EQ(damages.text(), fmt::format("{}: {}\n", laid.index, what));
    EXPECT_EQ(map.count({0}), 1u);
    EXPECT_EQ(map.count({20000}), std::nullopt);
  }
}

TEST_F(SpaceMap, ALostIndex) {
  device.damage_block(laid.index);
  const space_map map = read();
  EXPECT_EQ(damages.text(),
            fmt::format("{}: bad-checksum [0, {}) the checksum does not match the content\n",
                        laid.index, nr_blocks));
  for (std::uint64_t b = 0; b < nr_blocks; ++b) ASSERT_EQ(map.count({b}), std::nullopt);
}

TEST_F(SpaceMap, APointerToAnIndexThatIsNone) {
  for (const std::uint64_t wrong : {std::uint64_t{0}, nr_blocks}) {
    laid.root.bitmap_root = wrong;
    const space_map map = read();
    ASSERT_EQ(damages.all.size(), 1u);
    EXPECT_EQ(damages.all[0].block, block_nr{0});
    EXPECT_EQ(damages.all[0].error.type, error_class::bad_pointer);
    EXPECT_EQ(damages.all[0].hidden, (range{0, nr_blocks}));
    EXPECT_EQ(map.count({0}), std::nullopt);
  }
}

// The small counts are known without the tree, and what it hides is told once.
TEST_F(SpaceMap, ALostTree) {
  device.damage_block(laid.large.root);
  const space_map map = read();
  EXPECT_EQ(damages.text(),
            fmt::format("{}: bad-checksum [0, {}) the checksum does not match the content\n",
                        laid.large.root, nr_blocks));
  EXPECT_EQ(map.count({3}), 2u);
  EXPECT_EQ(map.count({16319}), 1u);
  EXPECT_EQ(map.count({16321}), 0u);
  for (const std::uint64_t large : {5u, 6u, 7u, 20000u, 32639u, 32640u})
    EXPECT_EQ(map.count({large}), std::nullopt);
}

// The second of two leaves is lost: block 32640 is hidden, and block 8 is missing.
TEST_F(SpaceMap, ALostLeafOfTheTree) {
  set(8, 3);
  const block_nr root = laid.large.root, left{nr_blocks - 10}, right{nr_blocks - 9};
  device[left] = test::make_leaf<le32>(left, {5, 6, 7, 20000}, {3, 4, 5, 6});
  device[root] = test::make_internal(root, {5, 32639}, {left, right});
  const space_map map = read();
  EXPECT_EQ(
      damages.text(),
      fmt::format("{}: bad-checksum [32639, {}) the block holds only zeros\n"
                  "{}: missing [8, 9) the bitmap says that the count of block 8 is in the tree "
                  "of large counts, and it is not\n",
                  right, nr_blocks, laid.bitmaps[0]));
  EXPECT_EQ(map.count({20000}), 6u);
  EXPECT_EQ(map.count({8}), std::nullopt);
  EXPECT_EQ(map.count({32639}), std::nullopt);
  EXPECT_EQ(map.count({32640}), std::nullopt);
  EXPECT_EQ(map.count({nr_blocks - 1}), 1u);
}

// Lost leaves and sound ones in turns, and a large count in and before each of them.
TEST_F(SpaceMap, EveryOtherLeafOfTheTreeIsLost) {
  std::vector<std::uint64_t> keys;
  std::vector<block_nr> leaves;
  const std::uint64_t free_blocks = 100;
  for (std::uint64_t i = 0; i < 200; ++i) {
    keys.push_back(150 * i), leaves.push_back({free_blocks + i});
    device[leaves[i]] = test::make_leaf<le32>(leaves[i], {keys[i]}, {7});
    set(keys[i], 3);
    set(keys[i] + 10, 3);
    if (i % 2) device.damage_block(leaves[i]);
  }
  for (const std::uint64_t elsewhere : {5u, 6u, 7u, 20000u, 32639u, 32640u}) set(elsewhere, 1);
  device[laid.large.root] = test::make_internal(laid.large.root, keys, leaves);
  const space_map map = read();
  std::size_t missing = 0, lost = 0;
  for (const block_error& d : damages.all)
    if (d.error.type == error_class::missing) {
      EXPECT_EQ(d.hidden, (range{300 * missing + 10, 300 * missing + 11}));
      ++missing;
    } else if (d.error.type == error_class::bad_checksum) {
      EXPECT_EQ(d.hidden.begin, 300 * lost + 150);
      ++lost;
    }
  EXPECT_EQ(missing, 100u);
  EXPECT_EQ(lost, 100u);
  for (std::uint64_t i = 0; i < 200; ++i) {
    EXPECT_EQ(map.count({keys[i]}), i % 2 ? std::nullopt : std::optional(7u));
    EXPECT_EQ(map.count({keys[i] + 10}), std::nullopt);
  }
}

TEST_F(SpaceMap, EverythingIsLost) {
  for (const block_nr b : {laid.index, laid.large.root, laid.bitmaps[0]}) device.damage_block(b);
  const space_map map = read();
  EXPECT_EQ(damages.all.size(), 2u);
  EXPECT_EQ(map.count({5}), std::nullopt);
}

// 255 bitmaps, most of them of blocks that nobody uses; a tree of two levels.
TEST(LargestSpaceMap, IsReadWhole) {
  scratch_device device(max_metadata_blocks);
  layout lay(device);
  for (std::uint64_t b = 1000; b < 3000; ++b) lay.count({b * 1387}) = static_cast<std::uint32_t>(b);
  const auto laid = lay.space_map();
  ASSERT_EQ(laid.bitmaps.size(), 255u);
  ASSERT_EQ(laid.large.levels.size(), 2u);
  reader r(device);
  damage_log damages;
  const space_map map = read_space_map(r.walk, laid.root, damages.sink());
  EXPECT_EQ(damages.text(), "");
  for (std::uint64_t b = 1000; b < 3000; ++b) {
    EXPECT_EQ(map.count({b * 1387}), b);
    EXPECT_EQ(map.count({b * 1387 + 1}), 0u);
  }
}

}  // namespace
}  // namespace persistent_data
