// SPDX-License-Identifier: GPL-3.0-or-later
// Which value a repair goes on with, and which it asks for or refuses.
#include "era/repair/superblock_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "era/repair/salvage.h"
#include "era/testing/kernel_image.h"
#include "era/testing/repaired.h"

namespace era {
namespace {

using test::built_metadata;
using test::change;
using test::lose;
using test::memory_image;
using test::repair;
using test::repaired;
using test::small_metadata;
using ::testing::HasSubstr;

std::string sound_xml() { return repair(built_metadata(small_metadata())).xml; }

TEST(SuperblockValues, AnArrayLongerThanTheSuperblockSaysIsBelieved) {
  built_metadata m(small_metadata());
  change(m, superblock_kind, 0, [](pd::block& b) { b.as<superblock>().nr_blocks = 1000; });
  const repaired r = repair(m);
  EXPECT_THAT(r.said, HasSubstr("3000 origin blocks; the superblock says 1000"));
  // The superblock may be of a time when the device was smaller.
  EXPECT_THAT(r.xml, HasSubstr(R"(<marked block_begin="0" len="3000"/>)"));
}

TEST(SuperblockValues, AsksForTheBlockSizeWhereItIsLost) {
  built_metadata m(small_metadata());
  change(m, superblock_kind, 0, [](pd::block& b) { b.as<superblock>().data_block_size = 0; });
  EXPECT_THAT(repair(m).error, HasSubstr("give it with --block-size SECTORS"));
  repair_options given;
  given.block_size = 128;
  EXPECT_EQ(repair(m, given).xml, sound_xml());
}

TEST(SuperblockValues, BelievesASoundSuperblockItsBlockSize) {
  built_metadata m(small_metadata());
  repair_options given;
  given.block_size = 64;
  EXPECT_THAT(
      repair(m, given).error,
      HasSubstr("--block-size 64 cannot be: the superblock is sound, and says 128 sectors"));
  given.block_size = 128;
  EXPECT_EQ(repair(m, given).xml, sound_xml());
}

TEST(SuperblockValues, TakesALostBlockSizeFromTheMetadataSnapshot) {
  memory_image image("snap-live");
  auto& sb = image.blocks()[0].as<superblock>();
  const std::uint32_t block_size = sb.data_block_size;
  sb.data_block_size = 0;
  pd::prepare_for_write(superblock_kind, image.blocks()[0], superblock_location);
  const pd::block_device device(image.path(), pd::access::shared);
  std::string said;
  const repair_report report{[](const finding&) {},
                             [&](const std::string& text) { said += text + '\n'; }};
  EXPECT_EQ(salvage_metadata(device, {}, report, [] {}).block_size, block_size);
  EXPECT_THAT(said,
              HasSubstr(fmt::format("the block size is that of the metadata snapshot, {} sectors",
                                    block_size)));
}

TEST(SuperblockValues, AsksForTheNumberOfBlocksWhereItIsLost) {
  built_metadata m(small_metadata());
  lose(m, m.read_superblock().era_array_root);
  change(m, superblock_kind, 0, [](pd::block& b) { b.as<superblock>().nr_blocks = 0x7fffffff; });
  EXPECT_THAT(repair(m).error, HasSubstr("give it with --nr-blocks N"));
  repair_options given;
  given.nr_blocks = 3000;
  EXPECT_THAT(repair(m, given).xml, HasSubstr(R"(<range block_begin="0" len="3000" era="9"/>)"));
}

TEST(SuperblockValues, ANumberOfBlocksBelowThatOfTheMetadataIsRefused) {
  built_metadata m(small_metadata());
  repair_options given;
  given.nr_blocks = 2999;
  EXPECT_THAT(
      repair(m, given).error,
      HasSubstr("--nr-blocks 2999 cannot be: the superblock says 3000, and the era array has "
                "3000; a number that is too large does no harm"));
  given.nr_blocks = 3001;
  const repaired r = repair(m, given);
  EXPECT_THAT(r.said, HasSubstr("3001 origin blocks, as told; the superblock says 3000"));
  EXPECT_THAT(r.xml, HasSubstr(R"(nr_blocks="3001")"));
  // The array cannot tell any more, and the superblock says what cannot be.
  lose(m, m.read_superblock().era_array_root);
  given.nr_blocks = 2999;
  EXPECT_THAT(repair(m, given).error, HasSubstr("the superblock says 3000"));
  change(m, superblock_kind, 0, [](pd::block& b) { b.as<superblock>().nr_blocks = 2000000000; });
  EXPECT_THAT(repair(m).error,
              HasSubstr("how many blocks the origin has is lost (the superblock says 2000000000, "
                        "which does not fit into the metadata)"));
  EXPECT_EQ(repair(m, given).error, "");
}

// A kernel that made the array smaller left a block after its end: the superblock's size counts if
// the current writeset has the same one, and else the longer one.
TEST(SuperblockValues, AnArrayThatWasMadeSmallerHasTheSizeOfTheSuperblock) {
  const auto salvage = [](const memory_image& image, std::string& said) {
    const pd::block_device device(image.path(), pd::access::shared);
    const repair_report report{[&](const finding& f) { said += f.error.text + '\n'; },
                               [&](const std::string& text) { said += text + '\n'; }};
    return salvage_metadata(device, {}, report, [] {}).nr_blocks;
  };
  memory_image image("shrunk");
  std::string said;
  EXPECT_EQ(salvage(image, said), 1500u);
  EXPECT_EQ(said, "");
  auto& sb = image.blocks()[0].as<superblock>();
  sb.nr_blocks = 1499;
  pd::prepare_for_write(superblock_kind, image.blocks()[0], superblock_location);
  EXPECT_EQ(salvage(image, said), 2037u);
  EXPECT_NE(said, "");
}

class CurrentEra : public ::testing::Test {
 protected:
  CurrentEra() {
    sb_.current_era = 7;
    sb_.nr_blocks = 3000;
  }
  resolved_era resolve(const era_clues& clues) {
    said_.clear();
    const repair_report report{ignore_findings,
                               [&](const std::string& text) { said_ += text + '\n'; }};
    return superblock_values(sb_, device_, given_, report).resolve_current_era(clues, [&] {
      ++scans_;
      return found_;
    });
  }
  std::string error_of(const era_clues& clues) {
    try {
      resolve(clues);
      return "";
    } catch (const pd::damaged_metadata& e) {
      return e.what();
    }
  }

  built_metadata built_{small_metadata()};
  pd::block_device device_{built_.path(), pd::access::reading};
  superblock sb_{};
  repair_options given_;
  device_evidence found_{.newest_era = 5, .longest_array = 3000};
  std::string said_;
  int scans_ = 0;
};

TEST_F(CurrentEra, IsTheSuperblocks) {
  const resolved_era era = resolve({.newest_era = 7});
  EXPECT_EQ(era.current, era_nr{7});
  EXPECT_EQ(era.least_current, era_nr{7});
  EXPECT_FALSE(era.is_outdated || era.is_told);
  EXPECT_EQ(scans_, 0);
  EXPECT_EQ(said_, "");
}

TEST_F(CurrentEra, OfAnOutdatedSuperblockIsPastAllThatHaveAName) {
  EXPECT_EQ(resolve({.is_outdated = true}).current, era_nr{7});
  found_.newest_era = 11;
  for (const era_clues& clues : {era_clues{.is_outdated = true}, era_clues{.newest_era = 8}}) {
    const resolved_era era = resolve(clues);
    EXPECT_EQ(era.current, era_nr{12});
    EXPECT_EQ(era.least_current, era_nr{7});
    EXPECT_TRUE(era.is_outdated);
    EXPECT_THAT(said_, HasSubstr("the current era is 12: the superblock says 7"));
  }
  found_.longest_array = 4000;
  EXPECT_THAT(error_of({.is_outdated = true}), HasSubstr("--nr-blocks N"));
  given_.nr_blocks = 4000;
  EXPECT_EQ(error_of({.is_outdated = true}), "");
}

TEST_F(CurrentEra, ThatCannotBeIsOutdated) {
  sb_.current_era = 0xffffffff;
  const resolved_era era = resolve({});
  EXPECT_EQ(era.current, era_nr{6});
  EXPECT_EQ(era.least_current, era_nr{0});
}

TEST_F(CurrentEra, IsAtLeastOneIfErasAreLost) {
  sb_.current_era = 0;
  EXPECT_EQ(resolve({}).current, era_nr{0});
  EXPECT_EQ(resolve({.has_lost_eras = true}).current, era_nr{1});
}

TEST_F(CurrentEra, IsTheUsersIfItIsNoOlder) {
  given_.current_era = 7;
  EXPECT_FALSE(resolve({}).is_told);
  given_.current_era = 9;
  const resolved_era era = resolve({});
  EXPECT_TRUE(era.is_told);
  EXPECT_EQ(era.current, era_nr{9});
  EXPECT_EQ(era.least_current, era_nr{9});
  given_.current_era = 6;
  EXPECT_THAT(error_of({}), HasSubstr("--current-era 6 cannot be: the metadata goes on to era 7"));
}

}  // namespace
}  // namespace era
