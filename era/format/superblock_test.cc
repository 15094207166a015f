// SPDX-License-Identifier: GPL-3.0-or-later
// The values that a superblock must have, and the names of other formats' first blocks.
#include "era/format/superblock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string_view>

#include "era/format/writeset.h"

namespace era {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t nr_metadata_blocks = 1000;

superblock good_superblock() {
  superblock sb{};
  sb.magic = superblock_magic;
  sb.version = superblock_version;
  sb.data_block_size = 128;
  sb.metadata_block_size = 8;
  sb.nr_blocks = 2048;
  sb.current_era = 3;
  sb.current_nr_bits = 2048;
  sb.current_root = 10;
  sb.writeset_tree_root = 11;
  sb.era_array_root = 12;
  sb.space_map = {1000, 20, 13, 14};
  return sb;
}

pd::block prepared(const superblock& sb, std::uint64_t where = 0) {
  pd::block b{};
  b.as<superblock>() = sb;
  pd::prepare_for_write(superblock_kind, b, {where});
  return b;
}

pd::block holding(std::string_view text) {
  pd::block b{};
  std::memcpy(b.bytes.data(), text.data(), text.size());
  return b;
}

TEST(Superblock, IsAccepted) {
  EXPECT_FALSE(validate_superblock(prepared(good_superblock()), {0}));
  EXPECT_FALSE(validate_superblock(prepared(good_superblock(), 584), {584}));
  EXPECT_THAT(check_superblock(good_superblock(), nr_metadata_blocks, superblock_copy::live),
              IsEmpty());
}

TEST(Superblock, MayHaveTheCleanShutdownFlagAndAUuid) {
  superblock sb = good_superblock();
  sb.flags = clean_shutdown;
  sb.uuid[3] = 7;
  EXPECT_THAT(check_superblock(sb, nr_metadata_blocks, superblock_copy::live), IsEmpty());
}

TEST(Superblock, JustFormattedIsPlausible) {
  superblock sb = good_superblock();
  sb.nr_blocks = 0;
  sb.current_era = 0;
  sb.current_root = 0;
  EXPECT_THAT(check_superblock(sb, nr_metadata_blocks, superblock_copy::live), IsEmpty());
}

TEST(Superblock, HasItsMagicVersionAndPlace) {
  superblock sb = good_superblock();
  sb.magic = 1;
  EXPECT_EQ(validate_superblock(prepared(sb), {0})->type, pd::error_class::bad_value);
  sb = good_superblock();
  sb.version = 2;
  EXPECT_THAT(validate_superblock(prepared(sb), {0})->text, HasSubstr("version 2"));
  EXPECT_EQ(validate_superblock(prepared(good_superblock(), 5), {0})->type,
            pd::error_class::wrong_place);
}

TEST(Superblock, DamagedIsNotTakenForForeign) {
  pd::block b = prepared(good_superblock());
  b.bytes[200] ^= std::byte{1};
  EXPECT_EQ(validate_superblock(b, {0})->type, pd::error_class::bad_checksum);
  EXPECT_THAT(validate_superblock(b, {0})->text, HasSubstr("checksum does not match"));
}

struct implausible {
  const char* name;
  void (*change)(superblock&);
  pd::error_class expected;
  const char* says;
};

class ImplausibleField : public ::testing::TestWithParam<implausible> {};

TEST_P(ImplausibleField, IsReported) {
  superblock sb = good_superblock();
  GetParam().change(sb);
  const auto errors = check_superblock(sb, nr_metadata_blocks, superblock_copy::live);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0].type, GetParam().expected);
  EXPECT_THAT(errors[0].text, HasSubstr(GetParam().says));
}

using pd::error_class;
INSTANTIATE_TEST_SUITE_P(
    Each, ImplausibleField,
    ::testing::Values(
        implausible{"flags", [](superblock& s) { s.flags = 2; }, error_class::bad_value, "0x2"},
        implausible{"block_size", [](superblock& s) { s.data_block_size = 0; },
                    error_class::bad_value, "0 sectors"},
        implausible{"block_size_multiple", [](superblock& s) { s.data_block_size = 12; },
                    error_class::bad_value, "12 sectors"},
        implausible{"metadata_block_size", [](superblock& s) { s.metadata_block_size = 16; },
                    error_class::bad_value, "16 sectors"},
        implausible{"nr_blocks_limit", [](superblock& s) { s.nr_blocks = 1u << 31; },
                    error_class::bad_value, "2147483648 origin blocks"},
        implausible{"nr_blocks_room", [](superblock& s) { s.nr_blocks = 1000 * 1018; },
                    error_class::bad_value, "does not fit"},
        implausible{"current_bits", [](superblock& s) { s.current_nr_bits = 1u << 31; },
                    error_class::bad_value, "2147483648 bits"},
        implausible{"current_era", [](superblock& s) { s.current_era = 0; }, error_class::bad_value,
                    "era is 0"},
        implausible{"current_root", [](superblock& s) { s.current_root = 1000; },
                    error_class::bad_pointer, "block 1000"},
        implausible{"tree_root_zero", [](superblock& s) { s.writeset_tree_root = 0; },
                    error_class::bad_pointer, "writeset tree"},
        implausible{"tree_root", [](superblock& s) { s.writeset_tree_root = ~0ull; },
                    error_class::bad_pointer, "writeset tree"},
        implausible{"array_root", [](superblock& s) { s.era_array_root = 1000; },
                    error_class::bad_pointer, "era array"},
        implausible{"same_roots", [](superblock& s) { s.era_array_root = 11; },
                    error_class::cross_linked, "same root"},
        implausible{"snapshot", [](superblock& s) { s.metadata_snap = 1000; },
                    error_class::bad_pointer, "metadata snapshot"},
        implausible{"index", [](superblock& s) { s.space_map.bitmap_root = 0; },
                    error_class::bad_pointer, "index"},
        implausible{"counts", [](superblock& s) { s.space_map.ref_count_root = 1001; },
                    error_class::bad_pointer, "large counts"},
        implausible{"allocated", [](superblock& s) { s.space_map.nr_allocated = 1001; },
                    error_class::bad_value, "1001 of them"}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

TEST(Superblock, ACopyIsNotAskedForWhatItDoesNotHold) {
  superblock sb = good_superblock();
  sb.space_map = {};
  sb.current_root = ~0ull;
  EXPECT_THAT(check_superblock(sb, nr_metadata_blocks, superblock_copy::of_snapshot), IsEmpty());
  sb.era_array_root = 0;
  EXPECT_THAT(check_superblock(sb, nr_metadata_blocks, superblock_copy::of_snapshot),
              ElementsAre(Field(&pd::error_detail::type, error_class::bad_pointer)));
}

TEST(Superblock, ForeignContentIsNamed) {
  const auto seems = [](std::string_view text) {
    const auto wrong = validate_superblock(holding(text), {0});
    EXPECT_EQ(wrong->type, error_class::wrong_kind);
    return wrong->text;
  };
  EXPECT_THAT(seems(""), HasSubstr("only zeros"));
  EXPECT_THAT(seems("<superblock uuid"), HasSubstr("XML"));
  EXPECT_THAT(seems("\xef\xbb\xbf \n<?xml version"), HasSubstr("XML"));
  EXPECT_THAT(seems("\x1f\x8b\x08"), HasSubstr("gzip"));
  EXPECT_THAT(seems("\xfd"
                    "7zXZ"),
              HasSubstr("xz"));
  EXPECT_THAT(seems("\x28\xb5\x2f\xfd"), HasSubstr("zstd"));
}

TEST(Superblock, OtherTargetsMetadataIsNamed) {
  superblock sb{};
  sb.magic = 27022010;
  pd::block b{};
  b.as<superblock>() = sb;
  EXPECT_THAT(validate_superblock(b, {0})->text, HasSubstr("thin pool"));
  b.as<superblock>().magic = 1623043;
  EXPECT_THAT(validate_superblock(b, {0})->text, HasSubstr("cache"));
}

TEST(Superblock, SomethingElseIsNoEraMetadata) {
  const auto wrong = validate_superblock(holding("hello, world"), {0});
  EXPECT_EQ(wrong->type, error_class::bad_checksum);
  EXPECT_THAT(wrong->text, HasSubstr("no era metadata"));
}

}  // namespace
}  // namespace era
