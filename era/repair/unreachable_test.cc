// SPDX-License-Identifier: GPL-3.0-or-later
// Evidence from counted blocks that nothing leads to.
#include "era/repair/unreachable.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "persistent-data/testing/blocks.h"
#include "persistent-data/testing/scratch_device.h"

namespace era {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A writeset of era 5: its leaf in block 10, the bitset's root in 11, its only block in 12.
class Unreachable : public ::testing::Test {
 protected:
  Unreachable() {
    writeset_value value{};
    value.nr_bits = 100;
    value.root = 11;
    device_[{10}] = pd::test::make_leaf<writeset_value>({10}, {5}, {value});
    device_[{11}] = pd::test::make_leaf<pd::le64>({11}, {0}, {12});
    device_[{12}] = pd::test::make_array_block<pd::le64>({12}, std::vector<pd::le64>{1, 2});
  }

  unreachable_metadata find(std::vector<pd::block_nr> unreached) {
    const auto device = device_.open();
    return find_unreachable(device, 100, unreached, [] {});
  }

  pd::test::scratch_device device_{40};
};

TEST_F(Unreachable, AWritesetThatIsWholeExplainsItsBlocks) {
  const auto found = find({{10}, {11}, {12}});
  ASSERT_EQ(found.writesets.size(), 1u);
  EXPECT_EQ(found.writesets[0].era, 5u);
  EXPECT_EQ(found.newest_era, 5u);
  EXPECT_TRUE(found.bits.empty());
  EXPECT_THAT(found.bits_anywhere, IsEmpty());
  EXPECT_TRUE(found.explained);
  EXPECT_FALSE(found.has_evidence);
}

TEST_F(Unreachable, ALeafGivesABitsetBlockItsPlace) {
  const auto found = find({{11}, {12}});
  EXPECT_THAT(found.writesets, IsEmpty());
  EXPECT_EQ(found.bits.of({0, 1}).size(), 1u);
  EXPECT_THAT(found.bits_anywhere, IsEmpty());
  EXPECT_TRUE(found.explained);
}

TEST_F(Unreachable, ABitsetBlockWithoutALeafCountsAnywhere) {
  const auto found = find({{12}});
  EXPECT_TRUE(found.bits.empty());
  ASSERT_FALSE(found.bits_anywhere.empty());
  EXPECT_EQ(found.bits_anywhere[1], 2u);
  EXPECT_FALSE(found.explained);
  EXPECT_FALSE(found.has_evidence);  // it may only have leaked
}

TEST_F(Unreachable, ALeafLeadsToBlocksThatAreNotCounted) {
  EXPECT_EQ(find({{11}}).bits.of({0, 1}).size(), 1u);
  device_.damage_block({12});
  const auto found = find({{11}});
  EXPECT_TRUE(found.bits.empty());
  EXPECT_THAT(found.lost_stripes, ElementsAre(true));
}

TEST_F(Unreachable, ABlockThatSaysWhatCannotBeIsEvidence) {
  device_[{11}] = pd::test::make_leaf<pd::le64>({11}, {0}, {11});
  EXPECT_TRUE(find({{11}}).has_evidence);
  device_.damage_block({11});
  const auto found = find({{11}});
  EXPECT_FALSE(found.has_evidence);
  EXPECT_FALSE(found.explained);
}

}  // namespace
}  // namespace era
