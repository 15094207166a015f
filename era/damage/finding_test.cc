// SPDX-License-Identifier: GPL-3.0-or-later
// Findings in words, and the units of what they hide.
#include "era/damage/finding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <vector>

#include "era/format/superblock.h"

namespace era {
namespace {

constexpr std::uint64_t no_end = std::numeric_limits<std::uint64_t>::max();

finding found(place where, pd::range hidden, pd::error_class what = pd::error_class::bad_checksum) {
  return {where, {5, 6}, {what, "wrong"}, hidden};
}

TEST(Finding, NamesItsPlace) {
  EXPECT_EQ(in_words(place{part::era_array}), "era array");
  EXPECT_EQ(in_words(place{part::writeset, {7}}), "writeset of era 7");
  EXPECT_EQ(in_words(place{part::current_writeset, {8}}), "current writeset (era 8)");
  EXPECT_EQ(in_words(place{part::writeset_tree, {}, true}),
            "writeset tree of the metadata snapshot");
}

TEST(Finding, SaysWhatItMeans) {
  EXPECT_EQ(meaning(found({part::era_array}, {5, 6})),
            "when origin block 5 was last written is unknown");
  EXPECT_EQ(meaning(found({part::era_array}, {5, 8})),
            "when origin blocks 5 to 7 were last written is unknown");
  EXPECT_EQ(meaning(found({part::writeset, {3}}, {0, 64})),
            "which of origin blocks 0 to 63 were written in era 3 is unknown");
  EXPECT_EQ(meaning(found({part::writeset_tree}, {3, 5})),
            "which blocks were written in eras 3 to 4 is unknown");
  EXPECT_EQ(meaning(found({part::writeset_tree}, {3, no_end})),
            "which blocks were written in era 3 and later ones is unknown");
  EXPECT_EQ(meaning(found({part::writeset_tree}, {0, no_end})),
            "which blocks were written in any era is unknown");
  EXPECT_EQ(meaning(found({part::superblock}, {0, 1})),
            "which blocks were written, and when, is unknown");
  EXPECT_EQ(meaning(found({part::superblock}, {0, 1}, pd::error_class::wrong_kind)),
            "there is no era metadata here");
}

TEST(Finding, SaysThatNothingIsLostWhereNothingIs) {
  EXPECT_EQ(meaning(found({part::era_array}, {})), "no origin block's era is affected");
  EXPECT_EQ(meaning(found({part::space_map}, {3, 4})),
            "whether metadata block 3 is free is unknown; no era is affected");
  EXPECT_EQ(meaning(found({part::space_map}, {})),
            "the kernel may misjudge its free space; no era is affected");
}

TEST(Finding, OnlyAnotherSuperblockIsNoMetadata) {
  const auto is_none = [](const pd::block& b) {
    return is_no_metadata(
        {{part::superblock}, {0, 1}, *validate_superblock(b, superblock_location), {0, 1}});
  };
  pd::block other{};
  std::ranges::transform(std::string_view("<superblock"), other.bytes.begin(),
                         [](char c) { return std::byte(c); });
  EXPECT_TRUE(is_none(other));
  // Zeros may be a superblock that was wiped, and a wrong checksum one that was damaged.
  EXPECT_FALSE(is_none(pd::block{}));
  pd::block damaged{};
  damaged.as<superblock>().magic = superblock_magic;
  EXPECT_FALSE(is_none(damaged));
  EXPECT_FALSE(is_no_metadata(found({part::era_array}, {5, 6}, pd::error_class::wrong_kind)));
}

TEST(Finding, TheSuperblockOfASnapshotSaysNothingOfTheMetadata) {
  const finding used_again = found({part::superblock, {}, true}, {}, pd::error_class::wrong_kind);
  EXPECT_FALSE(is_no_metadata(used_again));
  EXPECT_NE(meaning(used_again), "there is no era metadata here");
  EXPECT_TRUE(is_contradiction(used_again));
}

// A block that is broken says nothing of others; an intact one in the wrong place does.
TEST(Finding, IntactBlocksContradictEachOther) {
  using enum pd::error_class;
  for (const part what : {part::writeset_tree, part::writeset, part::current_writeset,
                          part::era_array, part::space_map})
    for (const bool snapshot : {false, true}) {
      const auto contradicts = [&](pd::error_class type) {
        return is_contradiction(found({what, {}, snapshot}, {}, type));
      };
      for (const auto type : {io_error, bad_checksum, wrong_place})
        EXPECT_FALSE(contradicts(type)) << static_cast<int>(what) << name(type);
      for (const auto type : {wrong_kind, bad_shape, missing, bad_value})
        EXPECT_TRUE(contradicts(type)) << static_cast<int>(what) << name(type);
    }
  EXPECT_TRUE(is_contradiction(found({part::reference_counts}, {}, count_too_low)));
  EXPECT_TRUE(is_contradiction(found({part::reference_counts}, {}, cut_off)));
  EXPECT_FALSE(is_contradiction(found({part::reference_counts}, {}, count_too_high)));
  EXPECT_FALSE(is_contradiction(found({part::superblock}, {}, wrong_kind)));
}

TEST(Finding, OnlyALeakIsNotFatal) {
  EXPECT_FALSE(found({part::reference_counts}, {}, pd::error_class::count_too_high).fatal());
  for (const auto what :
       {pd::error_class::io_error, pd::error_class::bad_checksum, pd::error_class::wrong_kind,
        pd::error_class::wrong_place, pd::error_class::bad_shape, pd::error_class::bad_pointer,
        pd::error_class::cross_linked, pd::error_class::missing, pd::error_class::bad_value,
        pd::error_class::count_too_low})
    EXPECT_TRUE(found({part::reference_counts}, {}, what).fatal());
}

TEST(Finding, TurnsWordsOfABitsetIntoOriginBlocks) {
  std::vector<finding> out;
  const finding_sink sink = [&](finding f) { out.push_back(std::move(f)); };
  const auto in_bitset = sink_of({part::writeset, {3}}, sink, 64, 1000);
  in_bitset({{9}, {pd::error_class::missing, "gone"}, {1, 2}});
  in_bitset({{9}, {pd::error_class::missing, "gone"}, {15, 16}});  // the last word is partly used
  in_bitset({{9}, {pd::error_class::missing, "gone"}, {0, no_end}});  // must not overflow
  in_bitset({{9}, {pd::error_class::missing, "gone"}, {}});
  ASSERT_EQ(out.size(), 4u);
  EXPECT_EQ(out[0].hidden, (pd::range{64, 128}));
  EXPECT_EQ(out[1].hidden, (pd::range{960, 1000}));
  EXPECT_EQ(out[2].hidden, (pd::range{0, 1000}));
  EXPECT_TRUE(out[3].hidden.empty());
  EXPECT_EQ(out[0].blocks, (pd::block_range{9, 10}));
}

TEST(Finding, KeepsErasWithoutAnEnd) {
  std::vector<finding> out;
  const finding_sink sink = [&](finding f) { out.push_back(std::move(f)); };
  sink_of({part::writeset_tree}, sink, 1,
          no_end)({{9}, {pd::error_class::missing, ""}, {7, no_end}});
  EXPECT_EQ(out.at(0).hidden, (pd::range{7, no_end}));
}

}  // namespace
}  // namespace era
