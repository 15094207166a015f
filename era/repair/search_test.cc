// SPDX-License-Identifier: GPL-3.0-or-later
// Metadata without its superblock: what is found, what is asked for, and what is not believed.
#include "era/repair/search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "era/testing/repaired.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/testing/blocks.h"

namespace era {
namespace {

using test::built_metadata;
using test::lose;
using test::repair;
using test::repaired;
using test::small_metadata;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Search, SearchesWithoutASuperblock) {
  built_metadata m(small_metadata());
  lose(m, 0);
  EXPECT_THAT(repair(m).error, HasSubstr("give it with --block-size SECTORS"));
  EXPECT_THAT(repair(m).error, HasSubstr("what is left of the superblock says 128"));
  repair_options given;
  given.block_size = 128;
  const repaired r = repair(m, given);
  // Era 7 is the newest that is named; the current writeset is newer.
  EXPECT_EQ(r.error, "");
  EXPECT_THAT(r.said, HasSubstr("the current era is 8: 7 is the newest that any block names"));
  EXPECT_THAT(r.said, HasSubstr("3000 origin blocks, the length of that array"));
  // Nothing tells the current writeset from the others: what any lists counts as written in era 8.
  const char* const marked = R"(  <era_array>
    <range block_begin="0" len="10" era="{0}"/>
    <range block_begin="10" len="10" era="1"/>
    <range block_begin="20" len="1" era="{0}"/>
    <range block_begin="21" len="9" era="1"/>
    <range block_begin="30" len="1" era="{0}"/>
    <range block_begin="31" len="1469" era="1"/>
    <range block_begin="1500" len="1500" era="2"/>
  </era_array>)";
  EXPECT_THAT(r.xml, HasSubstr(fmt::format(fmt::runtime(marked), 8)));
  EXPECT_THAT(r.xml, Not(HasSubstr("writeset")));
  given.current_era = 9;
  EXPECT_THAT(repair(m, given).xml, HasSubstr(fmt::format(fmt::runtime(marked), 9)));
  // It cannot be the era of the newest archived writeset, or an older one.
  for (const std::uint32_t era : {6u, 7u}) {
    given.current_era = era;
    EXPECT_THAT(repair(m, given).error, HasSubstr("it has to be 8 or later"));
  }
}

// The block was sound when the device was scanned, and is not when its eras are read.
TEST(Search, ABlockThatCanNoLongerBeReadMayHaveSaidAnything) {
  built_metadata m(small_metadata());
  const std::uint64_t where = m.read({0}).as<superblock>().space_map.nr_allocated;
  const std::vector<pd::le32> eras(3, pd::le32(5));
  m.write({where}, pd::test::make_array_block<pd::le32>({where}, eras));
  lose(m, 0);
  repair_options given;
  given.block_size = 128;
  for (const bool is_lost : {false, true}) {
    const repair_report report{[](const finding&) {},
                               [&](const std::string&) {
                                 if (is_lost) m.write({where}, pd::block{});
                               }};
    const pd::block_device device(m.path(), pd::access::shared);
    const auto anywhere = search_metadata(device, given, report, [] {}).lost.eras_anywhere;
    ASSERT_EQ(anywhere.size(), eras_per_array_block);
    EXPECT_EQ(anywhere[0], is_lost ? 8u : 5u);
    EXPECT_EQ(anywhere[3], is_lost ? 8u : 0u);
  }
}

// Whether what is lost besides the superblock was in use cannot be told.
TEST(Search, MarksAllBlocksWhereMoreThanTheSuperblockIsLost) {
  for (const bool zeros : {true, false}) {
    built_metadata m(small_metadata());
    lose(m, 0);
    if (zeros)
      m.write({2}, pd::block{});
    else
      lose(m, 2);
    repair_options given;
    given.block_size = 128;
    EXPECT_THAT(repair(m, given).error, HasSubstr("give it with --nr-blocks N"));
    EXPECT_THAT(repair(m, given).error, HasSubstr("the longest era array that is found has 3000"));
    given.nr_blocks = 3000;
    const repaired r = repair(m, given);
    EXPECT_THAT(r.said, HasSubstr("all blocks were written in era 8"));
    EXPECT_THAT(r.xml, HasSubstr(R"(<range block_begin="0" len="3000" era="8"/>)"));
    EXPECT_THAT(r.xml, Not(HasSubstr("writeset")));
  }
}

// The superblock of a metadata snapshot of the device's earlier life.
TEST(Search, ABlockSizeThatDoesNotFitIsNotBelieved) {
  for (const std::uint32_t nr_blocks : {3000u, 2999u}) {
    built_metadata m(small_metadata());
    pd::block copy = m.read({0});
    auto& sb = copy.as<superblock>();
    sb.nr_blocks = nr_blocks;
    sb.data_block_size = 64;
    const std::uint64_t where = sb.space_map.nr_allocated;
    pd::prepare_for_write(superblock_kind, copy, {where});
    m.write({where}, copy);
    // The remains of the superblock say 128.
    lose(m, 0);
    EXPECT_THAT(repair(m).error, HasSubstr("the block size is lost with the superblock"));
    EXPECT_THAT(repair(m).error, HasSubstr("what is left of the superblock says 128; a metadata "
                                           "snapshot of " +
                                           std::to_string(nr_blocks)));
    m.write({0}, pd::block{});
    const repaired r = repair(m);
    if (nr_blocks == 3000) {
      EXPECT_THAT(r.xml, HasSubstr(R"(block_size="64")"));
      EXPECT_THAT(r.said, HasSubstr("the block size is that of a metadata snapshot of era 9"));
    } else {
      EXPECT_THAT(r.error, HasSubstr("the block size is lost with the superblock"));
      EXPECT_THAT(
          r.error,
          HasSubstr("a metadata snapshot of 2999 origin blocks of 64 sectors was here once"));
    }
  }
}

// In whatever order they are met.
TEST(Search, TwoSnapshotsThatContradictEachOtherAreNotBelieved) {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> copies{{3000, 64}, {3000, 128}, {2999, 64}};
  std::sort(copies.begin(), copies.end());
  do {
    built_metadata m(small_metadata());
    std::uint64_t where = m.read_superblock().space_map.nr_allocated;
    for (const auto& [nr_blocks, block_size] : copies) {
      pd::block copy = m.read({0});
      copy.as<superblock>().nr_blocks = nr_blocks;
      copy.as<superblock>().data_block_size = block_size;
      pd::prepare_for_write(superblock_kind, copy, {where});
      m.write({where++}, copy);
    }
    m.write({0}, pd::block{});
    EXPECT_THAT(repair(m).error, HasSubstr("the block size is lost with the superblock"));
  } while (std::next_permutation(copies.begin(), copies.end()));
}

// The end of what was used is lost with the superblock, and zeros are there as if it had never
// been: a leaf leads to them.
TEST(Search, ZerosThatANodeLeadsToAreLost) {
  built_metadata m(small_metadata());
  repair_options given;
  given.block_size = 128;
  given.nr_blocks = 3000;
  const std::uint64_t where = m.read_superblock().space_map.nr_allocated;
  m.write({0}, pd::block{});
  EXPECT_THAT(repair(m, given).said, Not(HasSubstr("not only the superblock is lost")));
  m.write({where}, pd::test::make_leaf<pd::le64>({where}, {0}, {where + 1}));
  const repaired r = repair(m, given);
  EXPECT_THAT(r.said, HasSubstr("not only the superblock is lost"));
  EXPECT_THAT(r.xml, HasSubstr(R"(<range block_begin="0" len="3000")"));
}

// The snapshot says 3000 blocks, and its array has become another one.
TEST(Search, ABlockSizeIsNotBelievedIfTheArrayHasAnotherLength) {
  built_metadata m(small_metadata());
  pd::block copy = m.read({0});
  auto& sb = copy.as<superblock>();
  sb.data_block_size = 64;
  const pd::block_nr where{sb.space_map.nr_allocated}, shorter{where.value + 1};
  pd::block root = m.read({sb.era_array_root});
  root.as<pd::node_header>().nr_entries = 2;
  pd::prepare_for_write(pd::btree_node_kind, root, shorter);
  m.write(shorter, root);
  sb.era_array_root = shorter.value;
  pd::prepare_for_write(superblock_kind, copy, where);
  m.write(where, copy);
  lose(m, 0);
  EXPECT_THAT(repair(m).error, HasSubstr("the block size is lost with the superblock"));
}

TEST(Search, RefusesWhatIsNoMetadata) {
  repair_options given;
  given.block_size = 128;
  given.nr_blocks = 3000;
  built_metadata empty(small_metadata());
  for (std::uint64_t b = 0; b < empty.read_superblock().space_map.nr_blocks; ++b)
    if (b > 0) empty.write({b}, pd::block{});
  empty.write({0}, pd::block{});
  EXPECT_THAT(repair(empty, given).error, HasSubstr("there is no era metadata here"));

  built_metadata pool(small_metadata());
  pd::block b{};
  b.as<superblock>().magic = 27022010;
  pool.write({0}, b);
  EXPECT_THAT(repair(pool, given).error, HasSubstr("the metadata of a thin pool"));
}

}  // namespace
}  // namespace era
