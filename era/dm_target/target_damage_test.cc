// SPDX-License-Identifier: GPL-3.0-or-later
// Metadata whose sums are right and whose content is not; and eras at their end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "era/dm_target/target.h"
#include "era/testing/image_builder.h"
#include "era/testing/round_trip.h"
#include "persistent-data/format/array_block.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/testing/blocks.h"
#include "persistent-data/testing/recording_store.h"

namespace era {
namespace {

using pd::test::change_and_prepare;
using pd::test::recording_store;
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
  void put(const test::metadata_description& d) {
    const test::built_metadata built(d);
    const std::uint64_t blocks = built.read_superblock().space_map.nr_blocks;
    for (std::uint64_t b = 0; b < blocks; ++b) disk_[{b}] = built.read({b});
  }
  // As digested so far; of the first 1018 blocks.
  std::span<const pd::le32> array() {
    const pd::node_view leaf(disk_[{sb().era_array_root}]);
    return pd::array_values<pd::le32>(disk_[leaf.child(0)]);
  }
  // The archived writesets'.
  std::vector<std::uint64_t> archived() {
    const pd::node_view leaf(disk_[{sb().writeset_tree_root}]);
    std::vector<std::uint64_t> keys;
    for (std::uint32_t i = 0; i < leaf.size(); ++i) keys.push_back(leaf.key(i));
    return keys;
  }
  template <class Change>
  void change_superblock(pd::block_nr where, Change change) {
    change_and_prepare<superblock>(superblock_kind, disk_[where], where, change);
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
  change_and_prepare<pd::array_header>(pd::array_block_kind, disk_[first], first,
                                       [](auto& header) { header.nr_entries = 10; });
  up();
  EXPECT_THROW(target_->digest(10), pd::damaged_metadata);
  EXPECT_THROW(target_->digest(10), pd::damaged_metadata);
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
  EXPECT_THROW(target_->message("drop_metadata_snap"), pd::damaged_metadata);
  change_superblock(held, [](superblock& copy) {
    copy.magic = superblock_magic;
    copy.era_array_root = 0;
  });
  up();
  EXPECT_THROW(target_->message("drop_metadata_snap"), pd::damaged_metadata);
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
  EXPECT_THROW(up(), pd::damaged_metadata);
  EXPECT_FALSE(target_->is_resumed());
  EXPECT_EQ(pd::node_view(disk_[{sb().writeset_tree_root}]).size(), 1u);
}

// Digestion by the kernel would overwrite the newer one.
TEST_F(TargetDamage, AnEraOfTheArrayThatIsNewerThanTheWritesetStays) {
  put({.nr_blocks = nr_blocks,
       .current_era = 5,
       .data_block_size = block_size,
       .era_of = [](std::uint64_t b) { return b == 5   ? 4u
                                              : b == 6 ? 2u
                                              : b == 7 ? 1u
                                                       : 0u; },
       .archived = {{2, nr_blocks, [](std::uint64_t b) { return b >= 5 && b < 9; }},
                    {3, nr_blocks, [](std::uint64_t b) { return b == 5; }}},
       .current = {}});
  up();
  EXPECT_EQ(target_->digest(100), 4u);
  target_->status();
  EXPECT_EQ(archived(), std::vector<std::uint64_t>{});
  for (const auto& [block, era] : {std::pair{4u, 0u}, {5u, 4u}, {6u, 2u}, {7u, 2u}, {8u, 2u}})
    EXPECT_EQ(array()[block], era) << "block " << block;
  EXPECT_EQ(findings(), "");
}

// The array would get an era that has not begun. Older writesets are digested before, writes and
// eras go on, and the writeset stays until its era has begun.
TEST_F(TargetDamage, AWritesetOfALaterEraIsNotDigested) {
  const auto at = [](std::uint64_t block) {
    return [block](std::uint64_t b) { return b == block; };
  };
  put({.nr_blocks = nr_blocks,
       .current_era = 5,
       .data_block_size = block_size,
       .archived = {{2, nr_blocks, at(3)}, {8, nr_blocks, at(5)}},
       .current = {}});
  up();
  EXPECT_EQ(target_->digest(2), 2u);
  target_->status();
  EXPECT_EQ(archived(), std::vector<std::uint64_t>{8});
  for (std::uint32_t era = 6; era < 8; ++era) {
    EXPECT_EQ(target_->current_era().value, era);
    try {
      target_->digest(100);
      ADD_FAILURE();
    } catch (const pd::damaged_metadata& e) {
      EXPECT_THAT(e.what(), ::testing::HasSubstr(fmt::format(
                                "there is a writeset of era 8, and the current era is {}", era)));
    }
    write(7);
    target_->message("checkpoint");
    EXPECT_EQ(target_->digest(2), 2u);  // what the checkpoint has archived
    target_->status();
    EXPECT_EQ(archived(), std::vector<std::uint64_t>{8});
  }
  // The end of era 8 would need its place.
  write(9);
  EXPECT_THROW(target_->message("checkpoint"), pd::damaged_metadata);
  EXPECT_EQ(target_->digest(100), 2u);
  target_->message("checkpoint");
  target_->digest(100);
  target_->status();
  EXPECT_EQ(findings(), "");
  for (const auto& [block, era] : {std::pair{3u, 2u}, {5u, 8u}, {7u, 7u}, {9u, 8u}})
    EXPECT_EQ(array()[block], era) << "block " << block;
}

// Cut to 32 bits it would be era 3.
TEST_F(TargetDamage, AWritesetOfAnEraThatCannotBeIsNotDigested) {
  put({.nr_blocks = nr_blocks,
       .current_era = 5,
       .data_block_size = block_size,
       .archived = {{3, nr_blocks, [](std::uint64_t b) { return b == 5; }}},
       .current = {}});
  const pd::block_nr where{sb().writeset_tree_root};
  const std::uint64_t key = (std::uint64_t{1} << 32) + 3;
  std::memcpy(disk_[where].bytes.data() + sizeof(pd::node_header), &key, sizeof key);
  change_and_prepare<pd::node_header>(pd::btree_node_kind, disk_[where], where, [](auto&) {});
  up();
  EXPECT_THROW(target_->digest(100), pd::damaged_metadata);
  write(6);
  EXPECT_EQ(archived(), std::vector<std::uint64_t>{key});
}

// No era but the last one is special.
TEST_F(TargetDamage, ErasAreAnyNumbersUpToTheLast) {
  constexpr auto last = std::numeric_limits<std::uint32_t>::max();
  for (const std::uint32_t era : {0x7ffffffdu, 0x7ffffffeu, 0x7fffffffu, 0x80000000u, last - 5}) {
    SCOPED_TRACE(fmt::format("era {}", era));
    put({.nr_blocks = nr_blocks,
         .current_era = era,
         .data_block_size = block_size,
         .era_of = [&](std::uint64_t b) { return b == 3 ? era : 0u; },
         .archived = {{era - 1, nr_blocks, [](std::uint64_t b) { return b == 4; }}},
         .current =
             test::writeset_description{era, nr_blocks, [](std::uint64_t b) { return b == 5; }},
         .spare_blocks = 60});
    up();
    write(6);
    target_->message("take_metadata_snap");
    write(7);
    target_->message("checkpoint");
    target_->digest(100);
    target_->message("drop_metadata_snap");
    write(8);
    target_->suspend();
    EXPECT_EQ(target_->current_era().value, era + 3);
    EXPECT_EQ(findings(), "");
    target_->resume();
    target_->digest(100);
    target_->status();
    for (std::uint32_t b = 3; b < 9; ++b)
      EXPECT_EQ(array()[b], std::vector({era, era - 1, era, era + 1, era + 2, era + 3})[b - 3])
          << "block " << b;
  }
}

TEST_F(TargetDamage, AfterTheLastEraThereIsNone) {
  constexpr auto last = max_current_era;
  up();
  target_->suspend();
  change_superblock(superblock_location, [](superblock& s) { s.current_era = last - 1; });
  up();
  EXPECT_EQ(target_->current_era().value, last);
  write(5);
  EXPECT_THROW(target_->message("checkpoint"), pd::invalid_input);
  EXPECT_THROW(target_->message("take_metadata_snap"), pd::invalid_input);
  write(6);
  EXPECT_EQ(target_->current_era().value, last);
  EXPECT_EQ(findings(), "");
  target_->suspend();
  EXPECT_THROW(target_->resume(), pd::invalid_input);
  EXPECT_FALSE(target_->is_resumed());
  EXPECT_EQ(findings(), "");
}

}  // namespace
}  // namespace era
