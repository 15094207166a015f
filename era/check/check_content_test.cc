// SPDX-License-Identifier: GPL-3.0-or-later
// Sound blocks of arrays that say what cannot be.
#include "era/check/check_content.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "era/format/writeset.h"
#include "era/testing/image_builder.h"
#include "era/testing/open_metadata.h"
#include "persistent-data/format/btree_node.h"

namespace era {
namespace {

using era::test::built_metadata;
using era::test::change;
using era::test::metadata_description;
using era::test::open_metadata;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// In order: writesets of eras 3 and 4, and eras up to 2 in the array.
metadata_description ordered() {
  metadata_description d;
  d.nr_blocks = 3000;
  d.current_era = 5;
  d.era_of = [](std::uint64_t i) { return static_cast<std::uint32_t>(i % 3); };
  d.archived = {{3, 3000, [](std::uint64_t i) { return i < 10; }}, {4, 1000}};
  return d;
}

// newest: what check_content returns.
std::vector<finding> findings_of(const built_metadata& built,
                                 std::vector<era_nr>* newest = nullptr) {
  const pd::block_device device(built.path(), pd::access::reading);
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  std::vector<finding> findings;
  const finding_sink sink = [&](finding f) { findings.push_back(std::move(f)); };
  const auto m = open_metadata(queue, device, source::live, sink);
  auto found = check_content(*m, device, sink);
  if (newest) *newest = std::move(found);
  return findings;
}

TEST(CheckContent, FindsErasPastTheCurrentOne) {
  metadata_description d = ordered();
  d.era_of = [](std::uint64_t i) { return i == 1020 ? 9u : i == 1030 ? 6u : 1u; };
  const auto c = findings_of(built_metadata(d));
  ASSERT_EQ(c.size(), 1u);
  EXPECT_EQ(c[0].where, place{part::era_array});
  EXPECT_EQ(c[0].hidden, (pd::range{1020, 1031}));
  EXPECT_THAT(c[0].error.text, HasSubstr("2 of its eras"));
  EXPECT_THAT(c[0].error.text, HasSubstr("highest is 9"));
}

TEST(CheckContent, FindsBitsPastAWritesetsEnd) {
  built_metadata built(ordered());
  const pd::block_nr root{built.read_superblock().writeset_tree_root};
  const pd::block tree = built.read(root);
  const pd::block_nr bitset_root{pd::node_view(tree).value<writeset_value>(1).root};
  const pd::block leaf = built.read(bitset_root);
  change(built, pd::array_block_kind, pd::node_view(leaf).child(0).value, [](pd::block& b) {
    auto* words = reinterpret_cast<pd::le64*>(b.bytes.data() + sizeof(pd::array_header));
    words[15] = words[15] | std::uint64_t{1} << 40;  // bit 1000; the writeset has 1000
  });
  const auto c = findings_of(built);
  ASSERT_EQ(c.size(), 1u);
  EXPECT_EQ(c[0].where, (place{part::writeset, {4}}));
  EXPECT_EQ(c[0].error.type, pd::error_class::bad_value);
  EXPECT_TRUE(c[0].fatal());
}

// The kernel would write era 3 over era 4. Only those bits count that the array outdoes.
TEST(CheckContent, FindsWritesetsThatDigestionWouldWriteOverNewerEras) {
  metadata_description d = ordered();
  d.nr_blocks = 40'000;
  d.archived[0] = {3, 40'000, [](std::uint64_t i) { return i < 10 || i == 39'999; }};
  d.era_of = [](std::uint64_t i) { return i == 5 || i == 39'999 ? 4u : i == 20 ? 5u : 1u; };
  const built_metadata built(d);
  const auto r = findings_of(built);
  ASSERT_EQ(r.size(), 2u);
  for (const finding& f : r) {
    EXPECT_EQ(f.error.type, pd::error_class::out_of_order);
    EXPECT_EQ(f.where, (place{part::writeset, {3}, false}));
    EXPECT_TRUE(f.fatal());
  }
  EXPECT_THAT(
      r[0].error.text,
      HasSubstr("blocks that it lists have a newer era in the era array (1 of them); the first is "
                "origin block 5 with era 4"));
  EXPECT_THAT(r[1].error.text, HasSubstr("origin block 39999 with era 4"));
  EXPECT_THAT(meaning(r[0]), HasSubstr("do not activate the device"));
}

TEST(CheckContent, AnEraOfTheArrayThatNoWritesetListsIsInOrder) {
  metadata_description d = ordered();
  d.era_of = [](std::uint64_t i) { return i == 20 ? 5u : 1u; };
  EXPECT_THAT(findings_of(built_metadata(d)), IsEmpty());
}

TEST(CheckContent, ReturnsTheNewestEraOfEachStripe) {
  metadata_description d = ordered();
  d.nr_blocks = 40'000;
  d.era_of = [](std::uint64_t i) { return i == 39'999 ? 4u : i == 3 ? 2u : 0u; };
  std::vector<era_nr> newest;
  findings_of(built_metadata(d), &newest);
  EXPECT_THAT(newest, ElementsAre(era_nr{2}, era_nr{4}));
}

TEST(CheckContent, ReportsABlockThatCannotBeUsed) {
  built_metadata built(ordered());
  const pd::block tree = built.read({built.read_superblock().era_array_root});
  built.write(pd::node_view(tree).child(1), pd::block{});
  const auto f = findings_of(built);
  ASSERT_EQ(f.size(), 1u);
  EXPECT_EQ(f[0].error.type, pd::error_class::bad_checksum);
  EXPECT_EQ(f[0].hidden, (pd::range{1018, 2036}));
}

}  // namespace
}  // namespace era
