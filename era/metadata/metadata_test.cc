// SPDX-License-Identifier: GPL-3.0-or-later
// Opening metadata: what is mapped, and what is a finding of which part.
#include "era/metadata/metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "era/testing/image_builder.h"
#include "era/testing/open_metadata.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/testing/torn_reads.h"

namespace era {
namespace {

using era::test::built_metadata;
using era::test::metadata_description;
using era::test::open_metadata;
using ::testing::HasSubstr;

struct opened {
  std::optional<metadata> m;
  std::vector<finding> findings;
};

opened open(const built_metadata& built, source from = source::live) {
  const pd::block_device device(built.path(), pd::access::shared);
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  opened result;
  result.m = open_metadata(queue, device, from,
                           [&](finding f) { result.findings.push_back(std::move(f)); });
  return result;
}

metadata_description described() {
  metadata_description d;
  d.nr_blocks = 70000;
  d.current_era = 5;
  d.archived = {{2, 70000}, {4, 100}};
  d.current = {5, 60000};
  return d;
}

template <class Change>
void change_superblock(built_metadata& built, Change how) {
  era::test::change(built, superblock_kind, superblock_location.value,
                    [&](pd::block& b) { how(b.as<superblock>()); });
}

TEST(Metadata, ListsWritesetsByEraWithTheCurrentOneLast) {
  const opened o = open(built_metadata(described()));
  ASSERT_TRUE(o.m && o.findings.empty());
  ASSERT_EQ(o.m->writesets.size(), 3u);
  EXPECT_EQ(o.m->place_of(o.m->writesets[0]), (place{part::writeset, {2}}));
  EXPECT_EQ(o.m->place_of(o.m->writesets[1]), (place{part::writeset, {4}}));
  EXPECT_EQ(o.m->place_of(o.m->writesets[2]), (place{part::current_writeset, {5}}));
  EXPECT_EQ(o.m->writesets[0].bits.nr_blocks(), 3u);
  EXPECT_EQ(o.m->writesets[1].nr_bits, 100u);
  EXPECT_EQ(o.m->eras.nr_blocks(), 69u);
}

TEST(Metadata, WithoutASuperblockIsNone) {
  built_metadata built(described());
  built.write(superblock_location, pd::block{});
  const opened o = open(built);
  EXPECT_FALSE(o.m);
  ASSERT_EQ(o.findings.size(), 1u);
  EXPECT_EQ(o.findings[0].where, place{part::superblock});
  EXPECT_FALSE(o.findings[0].hidden.empty());
}

TEST(Metadata, HidesErasWhereTheWritesetTreeIsLost) {
  metadata_description d = described();
  d.current_era = 1000;
  d.current.reset();
  d.archived.clear();
  for (std::uint32_t era = 1; era <= 300; ++era) d.archived.push_back({era, 64});
  built_metadata built(d);
  const pd::block root = built.read({built.read_superblock().writeset_tree_root});
  const pd::node_view node(root);
  ASSERT_FALSE(node.is_leaf());
  built.write(node.child(1), pd::block{});
  const opened o = open(built);
  ASSERT_EQ(o.findings.size(), 1u);
  EXPECT_EQ(o.findings[0].where, place{part::writeset_tree});
  EXPECT_EQ(o.findings[0].hidden.begin, 202u);
  EXPECT_EQ(o.m->writesets.size(), 201u);
  EXPECT_EQ(meaning(o.findings[0]),
            "which blocks were written in era 202 and later ones is unknown");
}

TEST(Metadata, HidesTheBlocksOfABitsetThatIsLost) {
  built_metadata built(described());
  built.write({built.read_superblock().current_root}, pd::block{});
  const opened o = open(built);
  ASSERT_EQ(o.findings.size(), 1u);
  EXPECT_EQ(o.findings[0].where, (place{part::current_writeset, {5}}));
  EXPECT_EQ(o.findings[0].hidden, (pd::range{0, 60000}));
}

TEST(Metadata, SizesNothingByACountThatCannotBe) {
  built_metadata built(described());
  change_superblock(built, [](superblock& sb) { sb.nr_blocks = max_origin_blocks; });
  const opened o = open(built);
  ASSERT_TRUE(o.m);
  ASSERT_GE(o.findings.size(), 2u);
  EXPECT_EQ(o.findings[0].where, place{part::superblock});
  EXPECT_FALSE(o.m->eras.block(0));
}

TEST(Metadata, OfASnapshotNeedsOne) {
  try {
    open(built_metadata(described()), source::snapshot);
    FAIL();
  } catch (const pd::device_error& e) {
    EXPECT_THAT(e.what(), HasSubstr("holds no metadata snapshot"));
  }
}

class HeldSnapshot : public ::testing::Test {
 protected:
  built_metadata built_{described()};
  const pd::block_nr where_ = era::test::hold_snapshot(built_);
};

TEST_F(HeldSnapshot, LeavesTheCurrentWritesetOut) {
  const opened o = open(built_, source::snapshot);
  ASSERT_TRUE(o.m && o.findings.empty());
  EXPECT_EQ(o.m->location, where_);
  ASSERT_EQ(o.m->writesets.size(), 2u);
  EXPECT_EQ(o.m->place_of(o.m->writesets[1]), (place{part::writeset, {4}, true}));
}

TEST_F(HeldSnapshot, IsStillHeldUntilItIsDroppedOrTakenAnew) {
  const pd::block_device device(built_.path(), pd::access::shared);
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  const auto m = open(built_, source::snapshot).m;
  EXPECT_NO_THROW(require_still_held(device, *m));

  pd::block other = built_.read(where_);
  other.as<superblock>().current_era = 4;
  pd::prepare_for_write(superblock_kind, other, where_);
  built_.write(where_, other);
  EXPECT_THROW(require_still_held(device, *m), pd::device_error);

  era::test::drop_snapshot(built_);
  EXPECT_THROW(require_still_held(device, *m), pd::device_error);
}

// The superblock of a live device may be met while the kernel writes it.
class TornSuperblock : public HeldSnapshot {
 protected:
  TornSuperblock()
      : device_(built_.path(), pd::access::shared, pd::engine_choice::sync, calls_),
        queue_(device_.make_engine(), device_.nr_blocks()) {}

  // The number of findings.
  std::size_t read(superblock_reading how) {
    std::size_t findings = 0;
    const auto sb = read_superblock(queue_, device_.nr_blocks(), superblock_location, how,
                                    [&](const finding&) { ++findings; });
    EXPECT_EQ(sb.has_value(), findings == 0);
    return findings;
  }

  pd::test::torn_reads calls_;
  pd::block_device device_;
  pd::read_queue queue_;
};

TEST_F(TornSuperblock, IsReadAgainUntilItIsWhole) {
  for (const int torn : {0, 1, 3, 9}) {
    calls_.torn = torn;
    calls_.reads = 0;
    EXPECT_EQ(read(superblock_reading::until_whole), 0u) << torn;
    EXPECT_EQ(calls_.reads, torn + 1);
  }
}

TEST_F(TornSuperblock, ThatStaysTornIsDamaged) {
  calls_.torn = 1000;
  EXPECT_EQ(read(superblock_reading::until_whole), 1u);
  EXPECT_EQ(calls_.reads, 10);
}

TEST_F(TornSuperblock, OfADeviceThatNobodyWritesIsDamaged) {
  calls_.torn = 1;
  EXPECT_EQ(read(superblock_reading::once), 1u);
  EXPECT_EQ(calls_.reads, 1);
}

TEST_F(TornSuperblock, DoesNotHideASnapshot) {
  const finding_sink none = [](const finding& f) { ADD_FAILURE() << f.error.text; };
  calls_.torn = 2;
  const auto m = open_metadata(queue_, device_, source::snapshot, none);
  ASSERT_TRUE(m);
  EXPECT_EQ(calls_.torn, 0);
  calls_.torn = 2;
  EXPECT_NO_THROW(require_still_held(device_, *m));
  EXPECT_EQ(calls_.torn, 0);
}

TEST_F(TornSuperblock, OfLiveMetadataIsDamaged) {
  calls_.torn = 1;
  std::size_t findings = 0;
  EXPECT_FALSE(open_metadata(queue_, device_, source::live, [&](const finding&) { ++findings; }));
  EXPECT_EQ(findings, 1u);
}

TEST_F(HeldSnapshot, LiveMetadataNeedsNoSnapshot) {
  const pd::block_device device(built_.path(), pd::access::shared);
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  era::test::drop_snapshot(built_);
  EXPECT_NO_THROW(require_still_held(device, *open(built_).m));
}

TEST_F(HeldSnapshot, MustNotBeOfALaterEra) {
  pd::block b = built_.read(where_);
  b.as<superblock>().current_era = 6;
  pd::prepare_for_write(superblock_kind, b, where_);
  built_.write(where_, b);
  const opened o = open(built_, source::snapshot);
  ASSERT_EQ(o.findings.size(), 1u);
  EXPECT_TRUE(o.findings[0].where.snapshot);
  EXPECT_THAT(o.findings[0].error.text, HasSubstr("past the live era 5"));
}

}  // namespace
}  // namespace era
