// SPDX-License-Identifier: GPL-3.0-or-later
// The metadata by itself: each change is whole on the device, and one that fails leaves the last
// commit. That writes and eras keep their order is the target's.
#include "era/dm_target/era_metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>

#include "era/testing/round_trip.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/testing/blocks.h"
#include "persistent-data/testing/recording_store.h"

namespace era {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class EraMetadata : public ::testing::Test {
 protected:
  void open(std::uint32_t block_size = 128) {
    metadata_.reset();
    metadata_ = std::make_unique<era_metadata>(store_, block_size, 64);
  }
  std::string dump(source from = source::live) const {
    EXPECT_EQ(test::findings_in(disk_.path()), "");
    return test::dump_of(disk_.path(), {.compact = true}, from);
  }
  void mark(std::uint64_t block) { metadata_->mark(std::vector{origin_range{block, block + 1}}); }

  pd::test::scratch_device disk_{64};
  pd::test::recording_store store_{disk_};
  std::unique_ptr<era_metadata> metadata_;
};

TEST_F(EraMetadata, IsFormattedOnce) {
  open();
  EXPECT_EQ(metadata_->nr_commits(), 1u);
  EXPECT_EQ(metadata_->current_era(), era_nr{0});
  EXPECT_THAT(dump(), HasSubstr(R"(block_size="128" nr_blocks="0" current_era="0")"));
  metadata_->begin_era_of(1000);
  open();
  EXPECT_EQ(metadata_->nr_commits(), 0u);
  EXPECT_EQ(metadata_->current_era(), era_nr{1});
  EXPECT_EQ(metadata_->nr_blocks(), 1000u);
}

TEST_F(EraMetadata, IsOfOneBlockSize) {
  open();
  EXPECT_THROW(open(256), pd::invalid_input);
}

// Only zeros are formatted. A damaged superblock stays as it is.
TEST_F(EraMetadata, ADamagedSuperblockIsRefusedAndKept) {
  const auto refusal = [&]() -> std::string {
    const pd::block before = disk_[superblock_location];
    try {
      open();
      return "";
    } catch (const pd::invalid_input& e) {
      EXPECT_EQ(std::memcmp(&disk_[superblock_location], &before, sizeof before), 0);
      return e.what();
    }
  };
  open();
  metadata_->begin_era_of(1000);
  const pd::block sound = disk_[superblock_location];
  disk_.damage_block(superblock_location);
  EXPECT_THAT(refusal(),
              AllOf(HasSubstr("store: "), HasSubstr("checksum"), HasSubstr("; see era_check")));
  disk_[superblock_location] = sound;
  EXPECT_EQ(refusal(), "");
  pd::test::change_and_prepare<superblock>(superblock_kind, disk_[superblock_location],
                                           superblock_location,
                                           [](auto& sb) { sb.era_array_root = 64; });
  EXPECT_THAT(refusal(),
              AllOf(HasSubstr("store: "), HasSubstr("64"), HasSubstr("; see era_check")));
}

TEST_F(EraMetadata, KeepsMarksUntilTheyAreDigested) {
  open();
  metadata_->begin_era_of(1000);
  mark(7);
  metadata_->begin_era();
  mark(9);
  EXPECT_THAT(dump(), HasSubstr(R"(  <writeset era="1" nr_bits="1000">
    <marked block_begin="7" len="1"/>
  </writeset>
  <writeset era="2" nr_bits="1000">
    <marked block_begin="9" len="1"/>
  </writeset>)"));
  metadata_->archive();
  EXPECT_GT(metadata_->digest_and_commit(100), 0u);
  EXPECT_THAT(dump(), HasSubstr(R"(  <era_array>
    <range block_begin="0" len="7" era="0"/>
    <range block_begin="7" len="1" era="1"/>
    <range block_begin="8" len="1" era="0"/>
    <range block_begin="9" len="1" era="2"/>
    <range block_begin="10" len="990" era="0"/>
  </era_array>)"));
}

TEST_F(EraMetadata, DigestionThatIsNotCommittedIsDoneAgain) {
  open();
  metadata_->begin_era_of(1000);
  mark(7);
  metadata_->archive();
  const std::string before = dump();
  while (metadata_->digest()) {
  }
  EXPECT_EQ(dump(), before);
  metadata_->commit_digestion();
  EXPECT_NE(dump(), before);
}

TEST_F(EraMetadata, ASnapshotStaysAsItWas) {
  open();
  metadata_->begin_era_of(1000);
  mark(7);
  metadata_->begin_era();
  metadata_->take_snapshot();
  ASSERT_TRUE(metadata_->snapshot());
  const std::string held = dump(source::snapshot);
  mark(9);
  metadata_->archive();
  metadata_->digest_and_commit(100);
  EXPECT_EQ(dump(source::snapshot), held);
  metadata_->drop_snapshot();
  EXPECT_FALSE(metadata_->snapshot());
  dump();  // no block has leaked
  EXPECT_THROW(metadata_->drop_snapshot(), pd::invalid_input);
}

// A change that does not fit leaves the last commit, and the next change goes on from there.
TEST_F(EraMetadata, WhatDoesNotFitChangesNothing) {
  open();
  metadata_->begin_era_of(1000);
  mark(7);
  const std::string before = dump();
  EXPECT_THROW(metadata_->begin_era_of(1'000'000), pd::no_space);
  EXPECT_EQ(dump(), before);
  EXPECT_FALSE(metadata_->has_failed());
  mark(8);
  EXPECT_THAT(dump(), HasSubstr(R"(<marked block_begin="7" len="2"/>)"));
}

}  // namespace
}  // namespace era
