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

}  // namespace
}  // namespace era
