// SPDX-License-Identifier: GPL-3.0-or-later
// Kinds of blocks, and whether each may have listed writes.
#include "era/check/cut_off.h"

#include <gtest/gtest.h>

#include <vector>

#include "era/format/writeset.h"
#include "persistent-data/format/array_block.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/testing/blocks.h"

namespace era {
namespace {

constexpr pd::block_nr where{7};

template <class Value>
pd::block array_block(std::uint32_t value) {
  return pd::test::make_array_block<Value>(where, std::vector<Value>(3, Value(value)));
}

TEST(CutOff, IsABitsetWithABit) {
  EXPECT_FALSE(may_list_writes(array_block<pd::le64>(0), where));
  pd::block b = array_block<pd::le64>(1);
  EXPECT_TRUE(may_list_writes(b, where));
  // The number of values may lie.
  pd::test::change_and_prepare<pd::array_header>(pd::array_block_kind, b, where,
                                                 [](auto& header) { header.nr_entries = 0; });
  EXPECT_TRUE(may_list_writes(b, where));
}

TEST(CutOff, IsATreeNodeWithEntries) {
  EXPECT_FALSE(may_list_writes(pd::test::make_leaf<pd::le64>(where, {}, {}), where));
  EXPECT_TRUE(may_list_writes(pd::test::make_leaf<pd::le64>(where, {0}, {pd::le64(9)}), where));
  // This one belongs to the space map's counts.
  EXPECT_TRUE(may_list_writes(pd::test::make_internal(where, {0}, {pd::block_nr{5}}), where));
  EXPECT_FALSE(may_list_writes(pd::test::make_leaf<pd::le32>(where, {0}, {pd::le32(9)}), where));
}

TEST(CutOff, IsNothingElse) {
  EXPECT_FALSE(may_list_writes(array_block<pd::le32>(5), where));
  EXPECT_FALSE(may_list_writes(pd::block{}, where));
  pd::block broken = array_block<pd::le64>(1);
  broken.bytes[100] ^= std::byte{1};
  EXPECT_FALSE(may_list_writes(broken, where));
}

TEST(CutOff, MayBeAShapeThatCannotBe) {
  pd::block b = array_block<pd::le64>(0);
  pd::test::change_and_prepare<pd::array_header>(pd::array_block_kind, b, where,
                                                 [](auto& header) { header.value_size = 16; });
  EXPECT_TRUE(may_list_writes(b, where));
}

}  // namespace
}  // namespace era
