// SPDX-License-Identifier: GPL-3.0-or-later
// The assumptions that replace lost parts, damage by damage. That no block is ever missed is the
// repair sweep's to show.
#include "era/repair/salvage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "era/format/writeset.h"
#include "era/testing/kernel_image.h"
#include "era/testing/repaired.h"
#include "era/testing/round_trip.h"
#include "persistent-data/format/btree_node.h"

namespace era {
namespace {

using test::built_metadata;
using test::change;
using test::leaf_value;
using test::lose;
using test::memory_image;
using test::metadata_description;
using test::repair;
using test::repaired;
using test::small_metadata;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

const char as_it_was[] =
    R"(<superblock uuid="" block_size="128" nr_blocks="3000" current_era="9">
  <writeset era="5" nr_bits="3000">
    <marked block_begin="0" len="10"/>
  </writeset>
  <writeset era="7" nr_bits="3000">
    <marked block_begin="20" len="1"/>
  </writeset>
  <writeset era="9" nr_bits="3000">
    <marked block_begin="30" len="1"/>
  </writeset>
  <era_array>
    <range block_begin="0" len="1500" era="1"/>
    <range block_begin="1500" len="1500" era="2"/>
  </era_array>
</superblock>
)";

TEST(Salvage, KeepsWhatIsSound) {
  const repaired r = repair(built_metadata(small_metadata()));
  EXPECT_EQ(r.xml, as_it_was);
  EXPECT_EQ(r.said, "");
}

TEST(Salvage, ALostBlockOfTheEraArrayWasWrittenInTheCurrentEra) {
  built_metadata m(small_metadata());
  lose(m, leaf_value(m, m.read_superblock().era_array_root, 1));
  const repaired r = repair(m);
  EXPECT_THAT(r.xml, HasSubstr(R"(<range block_begin="0" len="1018" era="1"/>
    <range block_begin="1018" len="1018" era="9"/>
    <range block_begin="2036" len="964" era="2"/>)"));
}

TEST(Salvage, ALostBitsetBlockMarksAllOfItsBlocksInItsEra) {
  metadata_description d = small_metadata();
  d.nr_blocks = 40000;
  d.archived[0].nr_bits = 40000;
  built_metadata m(d);
  const pd::block tree = m.read({m.read_superblock().writeset_tree_root});
  const std::uint64_t bitset = pd::node_view(tree).value<writeset_value>(0).root;
  lose(m, leaf_value(m, bitset, 1));
  EXPECT_THAT(repair(m).xml, HasSubstr(R"(<writeset era="5" nr_bits="40000">
    <marked block_begin="0" len="10"/>
    <marked block_begin="32576" len="7424"/>
  </writeset>)"));
  lose(m, bitset);
  EXPECT_THAT(repair(m).xml, HasSubstr(R"(<writeset era="5" nr_bits="40000">
    <marked block_begin="0" len="40000"/>
  </writeset>)"));
}

// In place of a lost writeset's bits there is an outdated block of another kind.
TEST(Salvage, DoesNotTakeAnotherKindForAllThatWasThere) {
  for (const bool is_bitmap : {true, false}) {
    built_metadata m(small_metadata());
    const std::uint64_t tree = m.read_superblock().writeset_tree_root;
    const pd::block root = m.read({tree});
    const pd::block_nr bits{leaf_value(m, pd::node_view(root).value<writeset_value>(0).root, 0)};
    pd::block other{};
    pd::prepare_for_write(is_bitmap ? pd::space_map_bitmap_kind : pd::space_map_index_kind, other,
                          bits);
    m.write(bits, other);
    lose(m, tree);
    const repaired r = repair(m);
    EXPECT_THAT(r.said, Not(HasSubstr("all among them")));
    EXPECT_THAT(r.xml, HasSubstr(R"(<marked block_begin="0" len="3000"/>)"));
  }
}

// The space map does not count the blocks of a lost writeset, and contradicts its index in that.
TEST(Salvage, DoesNotBelieveCountsThatContradictTheIndex) {
  built_metadata m(small_metadata());
  const superblock sb = m.read_superblock();
  const pd::block tree = m.read({sb.writeset_tree_root});
  const std::uint64_t root = pd::node_view(tree).value<writeset_value>(0).root;
  const pd::block_nr bitmap{
      m.read({sb.space_map.bitmap_root}).as<pd::index_block>().entries[0].blocknr};
  change(m, pd::space_map_bitmap_kind, bitmap.value, [&](pd::block& b) {
    for (const std::uint64_t uncounted : {root, leaf_value(m, root, 0)})
      pd::set_count(b.as<pd::bitmap_block>(), static_cast<std::uint32_t>(uncounted), 0);
  });
  lose(m, sb.writeset_tree_root);
  const repaired r = repair(m);
  EXPECT_THAT(r.said, Not(HasSubstr("all among them")));
  EXPECT_THAT(r.xml, HasSubstr(R"(<marked block_begin="0" len="3000"/>)"));
}

// The last writes of the superblock were lost, and the blocks that it leads to were used again.
TEST(Salvage, AnOutdatedSuperblockIsNotBelieved) {
  built_metadata m(small_metadata());
  const superblock sb = m.read_superblock();
  // A leaf of the writeset tree is where the era array's root was.
  pd::block moved = m.read({sb.writeset_tree_root});
  pd::prepare_for_write(pd::btree_node_kind, moved, {sb.era_array_root});
  m.write({sb.era_array_root}, moved);
  // Another kind where the bitset's node was: a bitmap.
  pd::block bitmap{};
  pd::prepare_for_write(pd::space_map_bitmap_kind, bitmap, {sb.current_root});
  m.write({sb.current_root}, bitmap);
  repair_options given;
  for (const std::uint32_t told : {7u, 6u}) {
    change(m, superblock_kind, 0, [&](pd::block& b) { b.as<superblock>().current_era = told; });
    if (told == 6) {
      EXPECT_THAT(repair(m).error,
                  HasSubstr("the superblock of era 6 may be outdated, since sound blocks "
                            "contradict it; the newest era that any block names is 7, and the "
                            "longest era array has 0 blocks; give how many blocks"));
      given.nr_blocks = 3000;
    }
    const repaired r = repair(m, given);
    EXPECT_THAT(r.said,
                HasSubstr(fmt::format("the current era is 8: the superblock says {}, and may be "
                                      "outdated, since sound blocks contradict it",
                                      told)));
    EXPECT_THAT(r.xml, HasSubstr(R"(current_era="8")"));
    EXPECT_THAT(r.xml, HasSubstr(R"(<range block_begin="0" len="3000" era="8"/>)"));
  }
}

// Leaves of the writeset tree are lost, and the space map says which blocks hold their bitsets.
TEST(Salvage, FindsLostWritesetsByTheSpaceMap) {
  built_metadata m(small_metadata());
  lose(m, m.read_superblock().writeset_tree_root);
  const repaired r = repair(m);
  EXPECT_THAT(r.said, HasSubstr("what the writeset tree has lost is all among them"));
  EXPECT_THAT(r.xml, HasSubstr(R"(  <writeset era="9" nr_bits="3000">
    <marked block_begin="0" len="10"/>
    <marked block_begin="20" len="1"/>
    <marked block_begin="30" len="1"/>
  </writeset>
  <era_array>
    <range block_begin="0" len="1500" era="1"/>)"));
}

TEST(Salvage, MarksAllBlocksWhereLostWritesetsAreNotFound) {
  // The space map is lost, too; or one of the blocks that it counts.
  for (const bool map : {true, false}) {
    built_metadata m(small_metadata());
    const superblock sb = m.read_superblock();
    const pd::block tree = m.read({sb.writeset_tree_root});
    lose(m, sb.writeset_tree_root);
    lose(m, map ? std::uint64_t{sb.space_map.bitmap_root}
                : std::uint64_t{pd::node_view(tree).value<writeset_value>(0).root});
    EXPECT_THAT(repair(m).xml, HasSubstr(R"(  <writeset era="9" nr_bits="3000">
    <marked block_begin="0" len="3000"/>
  </writeset>)"));
  }
}

// One leaf of a tree of two levels is lost: later eras cannot have been in it.
TEST(Salvage, ALostLeafMarksItsLastEra) {
  metadata_description d = small_metadata();
  d.current_era = 500;
  d.current->era = 500;
  d.archived.clear();
  for (std::uint32_t era = 1; era <= 450; ++era)
    d.archived.push_back({era, 3000, [=](std::uint64_t i) { return i == era; }});
  built_metadata m(d);
  const superblock sb = m.read_superblock();
  const std::uint64_t leaf = leaf_value(m, sb.writeset_tree_root, 1);
  const pd::block second = m.read({leaf});
  const auto last =
      static_cast<std::uint32_t>(pd::node_view(second).key(pd::node_view(second).size() - 1));
  lose(m, leaf);
  lose(m, sb.space_map.bitmap_root);
  EXPECT_THAT(repair(m).xml, HasSubstr(fmt::format("<writeset era=\"{}\" nr_bits=\"3000\">\n"
                                                   "    <marked block_begin=\"0\" len=\"3000\"/>",
                                                   last)));

  // If the internal node is lost and the space map is not, the leaves are found as they were.
  built_metadata other(d);
  lose(other, other.read_superblock().writeset_tree_root);
  const repaired r = repair(other);
  EXPECT_EQ(r.xml, test::dump_of(built_metadata(d).path(), {.compact = true})) << r.said;
}

// Keys of a sound node that contradict those above say nothing of which eras are lost.
TEST(Salvage, KeysThatContradictMayHideAnyEra) {
  metadata_description d = small_metadata();
  d.current_era = 500;
  d.current->era = 500;
  d.archived.clear();
  for (std::uint32_t era = 1; era <= 450; ++era)
    d.archived.push_back({era, 3000, [=](std::uint64_t i) { return i == era; }});
  built_metadata m(d);
  const superblock sb = m.read_superblock();
  lose(m, sb.space_map.bitmap_root);
  change(m, pd::btree_node_kind, sb.writeset_tree_root, [](pd::block& b) {
    auto* keys = reinterpret_cast<pd::le64*>(b.bytes.data() + sizeof(pd::node_header));
    keys[2] = keys[2] - 10;  // the second leaf seems to end earlier
  });
  EXPECT_THAT(repair(m).xml, HasSubstr(R"(  <writeset era="500" nr_bits="3000">
    <marked block_begin="0" len="3000"/>
  </writeset>)"));
}

TEST(Salvage, AWritesetThatWasCutOffCounts) {
  built_metadata m(small_metadata());
  change(m, pd::btree_node_kind, m.read_superblock().writeset_tree_root,
         [](pd::block& b) { b.as<pd::node_header>().nr_entries = 1; });
  const repaired r = repair(m);
  EXPECT_THAT(r.said, HasSubstr("that nothing leads to"));
  // The leaf's last write may be lost, or that of the superblock.
  EXPECT_THAT(r.xml, HasSubstr(R"(  <writeset era="9" nr_bits="3000">
    <marked block_begin="0" len="3000"/>)"));
}

TEST(Salvage, ASpaceMapThatIsLostCostsNothing) {
  for (const bool index : {true, false}) {
    built_metadata m(small_metadata());
    const superblock sb = m.read_superblock();
    lose(m, index ? std::uint64_t{sb.space_map.bitmap_root}
                  : std::uint64_t{sb.space_map.ref_count_root});
    EXPECT_EQ(repair(m).xml, as_it_was);
  }
}

// An array that is too short may be an older one, in which blocks have other places.
TEST(Salvage, AnArrayThatIsTooShortIsNotBelieved) {
  built_metadata m(small_metadata());
  change(m, superblock_kind, 0, [](pd::block& b) { b.as<superblock>().nr_blocks = 5000; });
  EXPECT_THAT(repair(m).xml, HasSubstr(R"(<marked block_begin="0" len="5000"/>)"));
  repair_options given;
  given.nr_blocks = 3000;
  EXPECT_THAT(repair(m, given).xml, HasSubstr(R"(<marked block_begin="0" len="3000"/>)"));
}

// The superblock may be of the same era as the newest, and of an earlier commit.
TEST(Salvage, ASoundBlockOfAnotherKindMarksAllBlocks) {
  built_metadata sound(small_metadata());
  const superblock sb = sound.read_superblock();
  for (const std::uint64_t where :
       {std::uint64_t{sb.writeset_tree_root}, std::uint64_t{sb.era_array_root},
        std::uint64_t{sb.current_root}, std::uint64_t{sb.space_map.bitmap_root},
        std::uint64_t{sb.space_map.ref_count_root}})
    for (const pd::block_kind* kind : {&pd::array_block_kind, &superblock_kind}) {
      built_metadata m(small_metadata());
      pd::block other{};
      pd::prepare_for_write(*kind, other, {where});
      m.write({where}, other);
      const repaired r = repair(m);
      EXPECT_THAT(r.said, HasSubstr("the superblock says 9, and may be outdated")) << where;
      EXPECT_THAT(r.xml, AnyOf(HasSubstr(R"(<marked block_begin="0" len="3000"/>)"),
                               HasSubstr(R"(<range block_begin="0" len="3000" era="9"/>)")))
          << where;
    }
}

TEST(Salvage, AnEraFromTheFutureMovesTheCurrentOne) {
  built_metadata m(small_metadata());
  const std::uint64_t first = leaf_value(m, m.read_superblock().era_array_root, 0);
  change(m, pd::array_block_kind, first, [](pd::block& b) {
    *reinterpret_cast<pd::le32*>(b.bytes.data() + sizeof(pd::array_header)) = 12;
  });
  const repaired r = repair(m);
  EXPECT_THAT(r.xml, HasSubstr(R"(current_era="13")"));
  // The superblock may be outdated, and whatever was written since is lost.
  EXPECT_THAT(r.xml, HasSubstr(R"(<range block_begin="0" len="3000" era="13"/>)"));
  EXPECT_THAT(r.said, HasSubstr("the current era is 13: the superblock says 9, and may be "));

  // The one with which the counter ends does not.
  change(m, pd::array_block_kind, first, [](pd::block& b) {
    *reinterpret_cast<pd::le32*>(b.bytes.data() + sizeof(pd::array_header)) = 0xffffffff;
  });
  EXPECT_THAT(repair(m).xml, HasSubstr(R"(current_era="9")"));
  EXPECT_THAT(repair(m).xml, HasSubstr(R"(<range block_begin="0" len="3000" era="9"/>)"));
}

// Sound live metadata does not stand in for the snapshot.
TEST(Salvage, AMetadataSnapshotNeedsItsSuperblock) {
  memory_image image("snap-live");
  const auto error_of = [&](const repair_options& given) -> std::string {
    const pd::block_device device(image.path(), pd::access::shared);
    try {
      salvage_metadata(device, given, {[](const finding&) {}, [](const std::string&) {}}, [] {});
      return "";
    } catch (const pd::damaged_metadata& e) {
      return e.what();
    }
  };
  repair_options of_snapshot;
  of_snapshot.from = source::snapshot;
  EXPECT_EQ(error_of(of_snapshot), "");
  image.blocks()[image.blocks()[0].as<superblock>().metadata_snap].bytes[100] ^= std::byte{1};
  EXPECT_THAT(error_of(of_snapshot), HasSubstr("the superblock of the metadata snapshot is lost; "
                                               "repair the live metadata"));
  EXPECT_EQ(error_of({}), "");
}

TEST(Salvage, TheCurrentEraCanBeRaisedAndNotLowered) {
  const built_metadata m(small_metadata());
  repair_options given;
  given.current_era = 8;
  EXPECT_THAT(repair(m, given).error, HasSubstr("--current-era 8 cannot be"));
  given.current_era = 9;
  EXPECT_EQ(repair(m, given).said, "");
  // Nobody knows the writes between the superblock's era and that one.
  given.current_era = 20;
  const repaired r = repair(m, given);
  EXPECT_THAT(r.said, HasSubstr("the current era is 20, as told; the superblock says 9"));
  EXPECT_THAT(r.said, HasSubstr("all blocks were written in era 20"));
  EXPECT_THAT(r.xml, HasSubstr(R"(current_era="20")"));
  EXPECT_THAT(r.xml, HasSubstr(R"(<marked block_begin="0" len="3000"/>)"));
}

// The blocks of a dropped snapshot are reused: that is no damage.
TEST(Salvage, DoesNotCallADroppedSnapshotDamaged) {
  built_metadata m(small_metadata());
  const pd::block_nr snapshot = era::test::hold_snapshot(m);
  m.write(snapshot, pd::block{});
  repair_options given;
  given.from = source::snapshot;
  const repair_report report{[&](const finding&) { era::test::drop_snapshot(m); },
                             [](const std::string&) {}};
  const pd::block_device device(m.path(), pd::access::shared);
  EXPECT_THROW(salvage_metadata(device, given, report, [] {}), pd::device_error);
}

// In a metadata snapshot, the era that it begins with is nobody's.
TEST(Salvage, AMetadataSnapshotHasNoWritesetOfItsCurrentEra) {
  built_metadata m(small_metadata());
  const superblock sb = m.read_superblock();
  const std::uint64_t snapshot = sb.space_map.nr_allocated;
  change(m, pd::btree_node_kind, sb.writeset_tree_root, [](pd::block& b) {
    reinterpret_cast<pd::le64*>(b.bytes.data() + sizeof(pd::node_header))[1] = 9;
  });
  pd::block copy = m.read(superblock_location);
  copy.as<superblock>().current_root = 0;
  pd::prepare_for_write(superblock_kind, copy, {snapshot});
  m.write({snapshot}, copy);
  change(m, superblock_kind, 0, [&](pd::block& b) { b.as<superblock>().metadata_snap = snapshot; });
  repair_options given;
  given.from = source::snapshot;
  std::string said;
  const repair_report report{[](const finding&) {},
                             [&](const std::string& text) { said += text + '\n'; }};
  const pd::block_device device(m.path(), pd::access::shared);
  const metadata saved = salvage_metadata(device, given, report, [] {});
  EXPECT_THAT(said, HasSubstr("the writeset of impossible era 9 is of era 1"));
  EXPECT_GT(saved.current_era.value, 9u);
}

// The kernel would write era 5 over era 6.
TEST(Salvage, FoldsWritesetsThatTheArrayOutdoes) {
  metadata_description d = small_metadata();
  d.era_of = [](std::uint64_t i) { return i < 5 ? 6u : 1u; };
  const built_metadata m(d);
  const repaired r = repair(m);
  EXPECT_THAT(r.said, HasSubstr("all writesets are digested"));
  EXPECT_THAT(r.xml, HasSubstr(R"(  <era_array>
    <range block_begin="0" len="5" era="6"/>
    <range block_begin="5" len="5" era="5"/>
    <range block_begin="10" len="10" era="1"/>
    <range block_begin="20" len="1" era="7"/>
    <range block_begin="21" len="9" era="1"/>
    <range block_begin="30" len="1" era="9"/>)"));
  EXPECT_THAT(r.xml, Not(HasSubstr("<writeset")));
}

// A lost block of the array counts as written in the current era, which is newer than era 5.
TEST(Salvage, FoldsWritesetsThatALossOutdoes) {
  for (const bool is_listed : {false, true}) {
    metadata_description d = small_metadata();
    d.archived[0].is_set = [=](std::uint64_t i) { return i < 10 || (is_listed && i == 1500); };
    built_metadata m(d);
    lose(m, leaf_value(m, m.read_superblock().era_array_root, 1));
    const repaired r = repair(m);
    EXPECT_EQ(r.xml.find("<writeset") == std::string::npos, is_listed);
    EXPECT_THAT(r.xml, HasSubstr(R"(<range block_begin="1018" len="1018" era="9"/>)"));
  }
}

// The tree is sound, and has no entry: only what it has cut off tells.
TEST(Salvage, AnEmptyLeafDoesNotHideWhatIsCounted) {
  built_metadata m(small_metadata());
  const std::uint64_t root = m.read_superblock().writeset_tree_root;
  const auto bitset = std::uint64_t{pd::node_view(m.read({root})).value<writeset_value>(0).root};
  change(m, pd::btree_node_kind, root,
         [](pd::block& b) { b.as<pd::node_header>().nr_entries = 0; });
  const auto has_all_blocks = HasSubstr(R"(<writeset era="9" nr_bits="3000">
    <marked block_begin="0" len="3000"/>)");
  EXPECT_THAT(repair(m).xml, has_all_blocks);
  // A counted block is intact and cannot be: it may have led to any block.
  change(m, pd::btree_node_kind, bitset,
         [](pd::block& b) { b.as<pd::node_header>().value_size = 5; });
  EXPECT_THAT(repair(m).xml, has_all_blocks);
}

// The counter's second half, and the last era of which era_check does not complain.
TEST(Salvage, KeepsErasOfAnySize) {
  for (const std::uint32_t current : {0x7fffffffu, 0x80000000u, max_current_era}) {
    metadata_description d = small_metadata();
    d.current_era = current;
    d.current->era = current;
    d.archived[1].era = current - 1;
    d.era_of = [](std::uint64_t) { return 1u; };
    const repaired r = repair(built_metadata(d));
    EXPECT_EQ(r.error, "");
    EXPECT_EQ(r.said, "");
    EXPECT_THAT(r.xml, HasSubstr(fmt::format("current_era=\"{}\"", current)));
  }
  repair_options given;
  given.current_era = max_current_era;
  EXPECT_EQ(repair(built_metadata(small_metadata()), given).error, "");
}

// A device that was never activated, and one that was resized before its first era.
TEST(Salvage, EraZeroAndALostWritesetTree) {
  for (const std::uint32_t nr_blocks : {0u, 3000u}) {
    metadata_description d;
    d.nr_blocks = nr_blocks;
    d.current_era = 0;
    built_metadata m(d);
    lose(m, m.read_superblock().writeset_tree_root);
    lose(m, m.read_superblock().space_map.bitmap_root);
    const repaired r = repair(m);
    EXPECT_EQ(r.error, "");
    EXPECT_THAT(r.xml, HasSubstr(R"(current_era="1")"));
  }
}

}  // namespace
}  // namespace era
