// SPDX-License-Identifier: GPL-3.0-or-later
// Every write and every flush of a restore, and of a repair, fails in turn, and the power goes
// afterwards: whatever of the unflushed writes arrives, the output is not taken for metadata that
// it is not.
#include "era/metadata/atomic_metadata_output.h"

#include <gtest/gtest.h>

#include <cstring>

#include "era/metadata/copy_metadata.h"
#include "era/metadata/metadata_builder.h"
#include "era/repair/salvage.h"
#include "era/testing/image_builder.h"
#include "era/testing/round_trip.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/testing/faulty_device.h"

namespace era {
namespace {

using pd::test::faulty_device;
using pd::test::scratch_device;
using arriving = faulty_device::arriving;

constexpr std::uint64_t nr_metadata_blocks = 400;
constexpr std::uint32_t nr_blocks = 200'000;

// The output's earlier content: other, sound metadata.
struct old_metadata {
  old_metadata() : blocks(nr_metadata_blocks) {
    test::metadata_description d;
    d.nr_blocks = 100'000;
    d.current_era = 5;
    d.current = {5, d.nr_blocks, [](std::uint64_t i) { return i % 5 == 0; }};
    const test::built_metadata built(d);
    const std::uint64_t used = built.read_superblock().space_map.nr_blocks;
    for (std::uint64_t i = 0; i < used; ++i) blocks[i] = built.read({i});
  }

  bool is_in(const scratch_device& disk, std::uint64_t first = 0) const {
    for (std::uint64_t i = first; i < blocks.size(); ++i)
      if (blocks[i].bytes != disk[{i}].bytes) return false;
    return true;
  }

  std::vector<pd::block> blocks;
};

struct outcome {
  std::string error;
  output_state left = output_state::as_before;
};

using build = std::function<void(metadata_builder&)>;

void restore(metadata_builder& builder) {
  builder.begin_superblock({128, nr_blocks, {9}});
  builder.begin_writeset({8}, nr_blocks);
  builder.bits({7, 150'000}, true);
  builder.end_writeset();
  builder.begin_era_array();
  builder.eras({0, nr_blocks}, {3});
  builder.end_era_array();
  builder.end_superblock();
}

// The metadata's writeset tree is lost.
build repair() {
  test::metadata_description d;
  d.nr_blocks = nr_blocks;
  d.current_era = 9;
  d.archived = {{8, nr_blocks, [](std::uint64_t i) { return i < 150'000; }}};
  const auto damaged = std::make_shared<test::built_metadata>(d);
  pd::block root = damaged->read({damaged->read_superblock().writeset_tree_root});
  root.bytes[100] ^= std::byte{1};
  damaged->write({damaged->read_superblock().writeset_tree_root}, root);
  return [damaged](metadata_builder& builder) {
    const pd::block_device device(damaged->path(), pd::access::shared);
    const repair_report ignored{[](const finding&) {}, [](const std::string&) {}};
    const metadata saved = salvage_metadata(device, {}, ignored, [] {});
    const copy_result copied = copy_metadata(saved, device, builder, ignore_findings,
                                             {.losses = loss_policy::assume_written});
    EXPECT_TRUE(copied.is_complete);
  };
}

outcome run(faulty_device& device, const build& what) {
  metadata_builder builder(
      [&](std::uint64_t) {
        return output_target{"out", false, nr_metadata_blocks, [&] { return device.make_queue(); }};
      },
      [] {});
  try {
    what(builder);
    builder.commit();
    return {};
  } catch (const pd::device_error& e) {
    return {e.what(), builder.abandon()};
  }
}

bool is_the_new_one(const scratch_device& disk) {
  return test::findings_in(disk.path()).empty() &&
         disk[{0}].as<superblock>().nr_blocks == nr_blocks;
}

class AFailingDevice : public ::testing::TestWithParam<bool> {
 protected:
  void fill(scratch_device& disk) const {
    for (std::uint64_t i = 0; i < nr_metadata_blocks; ++i) disk[{i}] = old.blocks[i];
  }

  void expect_safe(const outcome& o, const scratch_device& disk) const {
    EXPECT_EQ(o.error.substr(0, 5), "out: ");
    EXPECT_NE(o.error.find("Input/output error"), std::string::npos) << o.error;
    const bool wiped = pd::is_zero(disk[{0}]);
    switch (o.left) {
      case output_state::as_before: EXPECT_TRUE(old.is_in(disk)); break;
      case output_state::perhaps_wiped:
        EXPECT_TRUE(old.is_in(disk, 1) && (wiped || old.is_in(disk)));
        break;
      case output_state::unformatted: EXPECT_TRUE(wiped); break;
      case output_state::perhaps_complete: EXPECT_TRUE(wiped || is_the_new_one(disk)); break;
    }
  }

  // Returns how often each outcome was seen.
  std::vector<int> fail_in_every_operation(bool for_good, arriving what) const {
    std::vector<int> seen(4);
    for (std::uint64_t n = 1;; ++n) {
      SCOPED_TRACE(fmt::format("operation {} fails{}", n, for_good ? " and all after it" : ""));
      scratch_device disk(nr_metadata_blocks);
      fill(disk);
      faulty_device device(disk);
      device.longest_write = 100 * pd::block_size;
      device.newest_first = n % 2 == 0;
      device.failing_operation = n;
      device.fails_for_good = for_good;
      const outcome o = run(device, builds);
      device.lose_power(what);
      if (o.error.empty()) {
        EXPECT_TRUE(is_the_new_one(disk));
        EXPECT_GE(n, 8u);  // wipe, flush, some writes, flush, superblock, flush
        return seen;
      }
      expect_safe(o, disk);
      ++seen[static_cast<std::size_t>(o.left)];
    }
  }

  old_metadata old;
  build builds = GetParam() ? repair() : restore;
};

TEST_P(AFailingDevice, ThatFailsOnce) {
  for (const arriving what : {arriving::nothing, arriving::everything, arriving::last_block}) {
    const auto seen = fail_in_every_operation(false, what);
    EXPECT_EQ(seen[0], 0);
    EXPECT_EQ(seen[1], 2);  // the wipe and its flush
    EXPECT_GE(seen[2], 5);
    EXPECT_EQ(seen[3], 0);  // the second wipe succeeds
  }
}

TEST_P(AFailingDevice, ThatFailsForGood) {
  for (const arriving what : {arriving::nothing, arriving::everything, arriving::last_block}) {
    const auto seen = fail_in_every_operation(true, what);
    EXPECT_EQ(seen[1], 2);
    EXPECT_GE(seen[2], 3);
    EXPECT_EQ(seen[3], 2);  // the superblock and its flush
  }
}

// The power goes in the middle of all, with no error at all.
TEST_P(AFailingDevice, ThatLosesItsPowerWhenTheSuperblockIsWritten) {
  for (const arriving what : {arriving::nothing, arriving::everything, arriving::last_block}) {
    scratch_device disk(nr_metadata_blocks);
    fill(disk);
    faulty_device device(disk);
    atomic_metadata_output output(
        {"out", false, nr_metadata_blocks, [&] { return device.make_queue(); }});
    output.wipe();
    pd::block b{};
    output.queue().write({1}, b);
    device.lose_power(what);
    EXPECT_TRUE(pd::is_zero(disk[{0}]));
    EXPECT_EQ(output.abandon(), output_state::unformatted);
  }
}

TEST_P(AFailingDevice, ThatIsNotTouchedIsAsItWas) {
  scratch_device disk(nr_metadata_blocks);
  fill(disk);
  faulty_device device(disk);
  atomic_metadata_output output(
      {"out", false, nr_metadata_blocks, [&] { return device.make_queue(); }});
  EXPECT_EQ(output.abandon(), output_state::as_before);
  EXPECT_EQ(device.operations(), 0u);
  EXPECT_TRUE(old.is_in(disk));
}

// A device that takes no write at all, such as one that may only be read.
TEST_P(AFailingDevice, ThatRefusesTheFirstWriteIsAsItWas) {
  scratch_device disk(nr_metadata_blocks);
  fill(disk);
  faulty_device device(disk);
  device.failing_operation = 1;
  atomic_metadata_output output(
      {"out", false, nr_metadata_blocks, [&] { return device.make_queue(); },
       [&] { return std::make_unique<pd::block_device>(disk.path(), pd::access::shared); }});
  EXPECT_THROW(output.wipe(), pd::device_error);
  EXPECT_EQ(output.abandon(), output_state::as_before);
  EXPECT_TRUE(old.is_in(disk));
}

INSTANTIATE_TEST_SUITE_P(Of, AFailingDevice, ::testing::Bool(),
                         [](const auto& of) { return of.param ? "Repair" : "Restore"; });

}  // namespace
}  // namespace era
