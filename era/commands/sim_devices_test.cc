// SPDX-License-Identifier: GPL-3.0-or-later
// Devices that are opened, created or refused, and the geometry that follows from them.
#include "era/commands/sim_devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "era/sim/simulation.h"
#include "era/testing/error_of.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;

constexpr auto engine = pd::engine_choice::automatic;
constexpr std::uint64_t mib = 1 << 20;

class SimDevices : public ::testing::Test {
 protected:
  target::geometry geometry_with(const sim_device_options& options) const {
    return sim_devices(options, input_, engine).geometry();
  }
  std::string error_with(const sim_device_options& options) const {
    return test::error_of<pd::device_error>([&] { geometry_with(options); });
  }
  // Formats the metadata.
  void format(const target::geometry& g) const {
    sim_devices devices({.metadata = metadata_, .block_size = g.block_size, .size = g.length},
                        input_, engine);
    sim::simulation(devices.metadata(), devices.origin(), devices.geometry(), {}).remove();
  }

  pd::test::scratch_directory directory_;
  const std::string metadata_ = directory_.empty_file("metadata", mib);
  const std::string origin_ = directory_.empty_file("origin", mib + 600);
  const std::string new_ = directory_ / "new";
  sim_input input_{.path = directory_.file("script", "write 0 8\n")};
};

TEST_F(SimDevices, TakeTheGeometryOfTheOptionsFirst) {
  format({256, 1000 * 256});
  const auto g =
      geometry_with({.metadata = metadata_, .origin = origin_, .block_size = 64, .size = 1000});
  EXPECT_EQ(g.block_size, 64u);
  EXPECT_EQ(g.length, 1000u);
}

TEST_F(SimDevices, TakeTheLengthOfTheOrigin) {
  format({256, 1000 * 256});
  const sim_devices devices({.metadata = metadata_, .origin = origin_}, input_, engine);
  EXPECT_EQ(devices.geometry().block_size, 256u);
  EXPECT_EQ(devices.geometry().length, 2049u);
  EXPECT_EQ(devices.origin_sectors(), 2049u);
}

TEST_F(SimDevices, TakeTheGeometryOfTheSuperblock) {
  format({256, 1000 * 256 - 8});
  const sim_devices devices({.metadata = metadata_}, input_, engine);
  EXPECT_EQ(devices.geometry().block_size, 256u);
  EXPECT_EQ(devices.geometry().length, 1000u * 256);  // the last block may be shorter
  EXPECT_EQ(devices.origin_sectors(), std::nullopt);
}

TEST_F(SimDevices, NeedASizeIfTheMetadataIsNotFormatted) {
  EXPECT_EQ(error_with({.metadata = metadata_}),
            metadata_ + ": is not formatted; give the size of the device with --size");
  EXPECT_EQ(geometry_with({.metadata = metadata_, .size = 8}).block_size, 128u);
}

TEST_F(SimDevices, NeedRoom) {
  // 2^20 origin blocks have an era array of 1,031 blocks.
  const std::string few = ": is too small for 1048576 origin blocks: it has 256 metadata blocks; ";
  EXPECT_THAT(
      error_with({.metadata = metadata_, .size = 128 * mib}),
      AllOf(HasSubstr(few + "make it so large first: truncate -s "), EndsWith("M " + metadata_)));
  EXPECT_THAT(error_with({.metadata = new_, .create = 2048, .size = 128 * mib}),
              HasSubstr(few + "use --create-metadata "));
  EXPECT_FALSE(fs::exists(new_));
}

TEST_F(SimDevices, LeaveTheLimitsToTheTarget) {
  EXPECT_EQ(geometry_with({.metadata = metadata_, .block_size = 0, .size = 8}).block_size, 0u);
  constexpr std::uint64_t too_many = (std::uint64_t{1} << 32) + mib;  // origin blocks
  EXPECT_EQ(geometry_with({.metadata = metadata_, .size = 128 * too_many}).length, 128 * too_many);
}

TEST_F(SimDevices, RefuseADamagedSuperblock) {
  const std::string text = directory_.random_file("random", mib, 1);
  EXPECT_THAT(error_with({.metadata = text, .size = 8}), HasSubstr(": superblock (block 0): "));
}

TEST_F(SimDevices, RefuseAnOriginThatIsSomethingElse) {
  EXPECT_EQ(error_with({.metadata = metadata_, .origin = metadata_}),
            metadata_ + ": is the metadata, and cannot be the origin, too");
  const sim_device_options options{.metadata = metadata_, .origin = input_.path};
  EXPECT_EQ(error_with(options), input_.path + ": is the script, and cannot be the origin, too");
  input_.is_trace = true;
  EXPECT_EQ(error_with(options), input_.path + ": is the trace, and cannot be the origin, too");
}

TEST_F(SimDevices, RefuseAnOriginWithoutASector) {
  const std::string small = directory_.empty_file("small", 511);
  EXPECT_EQ(error_with({.metadata = metadata_, .origin = small}),
            small + ": the origin is smaller than a sector");
}

TEST_F(SimDevices, RemoveNewMetadataUnlessItIsKept) {
  const sim_device_options options{.metadata = new_, .create = 2048, .size = 8};
  {
    sim_devices devices(options, input_, engine);
    EXPECT_FALSE(devices.keeps_metadata());
    EXPECT_EQ(fs::file_size(new_), mib);
  }
  EXPECT_FALSE(fs::exists(new_));
  {
    sim_devices devices(options, input_, engine);
    devices.keep_metadata();
    EXPECT_TRUE(devices.keeps_metadata());
  }
  EXPECT_TRUE(fs::exists(new_));
  EXPECT_TRUE(sim_devices({.metadata = new_, .size = 8}, input_, engine).keeps_metadata());
  EXPECT_THAT(error_with(options), HasSubstr("is there already"));
}

TEST(ParseMetadataSize, HasABlockAtLeastAndWhatMetadataCanUseAtMost) {
  const auto error_of = [](const char* text) {
    return test::error_of<pd::invalid_input>([&] { parse_metadata_size(text); });
  };
  EXPECT_EQ(parse_metadata_size("8"), 8u);
  EXPECT_EQ(error_of("7"), "metadata has at least 8 sectors (4K)");
  EXPECT_EQ(parse_metadata_size("33292800"), 33292800u);
  EXPECT_EQ(error_of("33292801"),
            "metadata of 33292801 sectors cannot be made; 33292800 are used at most");
}

}  // namespace
}  // namespace era
