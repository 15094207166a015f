// SPDX-License-Identifier: GPL-3.0-or-later
// Metadata whose sums are right and whose content is not; and eras at their end.
#include <gtest/gtest.h>

#include <limits>
#include <memory>

#include "era/target/target.h"
#include "era/testing/round_trip.h"
#include "persistent-data/testing/blocks.h"
#include "persistent-data/testing/recording_store.h"

namespace era {
namespace {

using pd::test::recording_store;
using pd::test::reseal;
using pd::test::scratch_device;

constexpr std::uint32_t block_size = 8, nr_blocks = 3000;

struct null_origin final : origin_device {
  void read(std::uint64_t, std::uint64_t, std::byte*) override {}
  void write(std::uint64_t, std::uint64_t, const std::byte*) override {}
  void discard(std::uint64_t, std::uint64_t) override {}
  void flush() override {}
};

class TargetDamage : public ::testing::Test {
 protected:
  void up() {
    target_.reset();
    target_ = std::make_unique<target>(
        store_, origin_, target::geometry{block_size, std::uint64_t{nr_blocks} * block_size});
    target_->resume();
  }
  void write(std::uint64_t block) { target_->write(block * block_size, block_size, nullptr); }
  std::string findings() const { return test::findings_in(disk_.path()); }
  superblock& sb() { return disk_[superblock_location].as<superblock>(); }
  template <class Change>
  void change_superblock(pd::block_nr where, Change change) {
    reseal<superblock>(superblock_kind, disk_[where], where, change);
  }

  scratch_device disk_{160};
  recording_store store_{disk_};
  null_origin origin_;
  std::unique_ptr<target> target_;
};

TEST_F(TargetDamage, OfTheEraArrayStopsDigestionAndLosesNoEra) {
  up();
  write(5);
  write(900);
  target_->message("checkpoint");
  target_.reset();
  const pd::node_view leaf(disk_[{sb().era_array_root}]);
  const pd::block_nr first{leaf.value<pd::le64>(0)};
  reseal<pd::array_header>(pd::array_block_kind, disk_[first], first,
                           [](auto& header) { header.nr_entries = 10; });
  up();
  EXPECT_THROW(target_->digest(10), pd::damaged_block);
  EXPECT_THROW(target_->digest(10), pd::damaged_block);
  // The writeset is still there; what needs no digestion goes on.
  write(7);
  target_->message("checkpoint");
  const pd::node_view writesets(disk_[{sb().writeset_tree_root}]);
  EXPECT_EQ(writesets.key(0), 1u);
}

TEST_F(TargetDamage, OfTheSnapshotsSuperblockFreesNothing) {
  up();
  write(5);
  target_->message("take_metadata_snap");
  const auto used = target_->status().used;
  target_.reset();
  const pd::block_nr held{sb().metadata_snap};
  change_superblock(held, [](superblock& copy) { copy.magic = 1; });
  up();
  EXPECT_THROW(target_->message("drop_metadata_snap"), pd::damaged_block);
  change_superblock(held, [](superblock& copy) {
    copy.magic = superblock_magic;
    copy.era_array_root = 0;
  });
  up();
  EXPECT_THROW(target_->message("drop_metadata_snap"), pd::damaged_block);
  EXPECT_EQ(target_->status().held, held);
  EXPECT_GE(target_->status().used, used);
}

TEST_F(TargetDamage, NoWritesetTakesAnothersPlace) {
  up();
  write(5);
  target_->message("checkpoint");
  write(6);
  target_.reset();
  change_superblock(superblock_location, [](superblock& s) { s.current_era = 1; });
  EXPECT_THROW(up(), pd::damaged_block);
  EXPECT_FALSE(target_->is_resumed());
  EXPECT_EQ(pd::node_view(disk_[{sb().writeset_tree_root}]).size(), 1u);
}

TEST_F(TargetDamage, AfterTheLastEraThereIsNone) {
  constexpr auto last = max_current_era;
  up();
  target_->suspend();
  change_superblock(superblock_location, [](superblock& s) { s.current_era = last - 1; });
  up();
  EXPECT_EQ(target_->current_era().value, last);
  write(5);
  EXPECT_THROW(target_->message("checkpoint"), refused);
  EXPECT_THROW(target_->message("take_metadata_snap"), refused);
  write(6);
  EXPECT_EQ(target_->current_era().value, last);
  EXPECT_EQ(findings(), "");
  target_->suspend();
  EXPECT_THROW(target_->resume(), refused);
  EXPECT_FALSE(target_->is_resumed());
  EXPECT_EQ(findings(), "");
}

}  // namespace
}  // namespace era
