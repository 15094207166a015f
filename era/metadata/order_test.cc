// SPDX-License-Identifier: GPL-3.0-or-later
// Which writesets are out of order, and what of a loss counts.
#include "era/metadata/order.h"

#include <gtest/gtest.h>

#include "era/testing/image_builder.h"
#include "era/testing/open_metadata.h"

namespace era {
namespace {

using era::test::built_metadata;
using era::test::metadata_description;
using era::test::open_metadata;

// Origin blocks 5 and 39,999 have era 4 in the array, all others era 1; a writeset of era 3 lists
// blocks 0 to 9 and block 39,999.
metadata_description described() {
  metadata_description d;
  d.nr_blocks = 40'000;
  d.current_era = 5;
  d.era_of = [](std::uint64_t i) { return i == 5 || i == 39'999 ? 4u : 1u; };
  d.archived = {{3, 40'000, [](std::uint64_t i) { return i < 10 || i == 39'999; }}};
  d.current = {5, 40'000, [](std::uint64_t) { return true; }};
  return d;
}

class Order : public ::testing::Test {
 protected:
  std::vector<out_of_order> find(loss_policy policy, const std::vector<era_nr>& newest) const {
    std::vector<out_of_order> found;
    find_out_of_order(
        *m_, device_, policy, newest, [&](const out_of_order& wrong) { found.push_back(wrong); },
        [&](const finding&) { ++findings_; });
    return found;
  }

  mutable int findings_ = 0;
  built_metadata built_{described()};
  pd::block_device device_{built_.path(), pd::access::shared};
  pd::read_queue queue_{device_.make_engine(), device_.nr_blocks()};
  std::optional<metadata> m_ = open_metadata(queue_, device_, source::live, ignore_findings);
};

TEST_F(Order, NamesTheFirstOriginBlockInEachBitsetBlock) {
  const auto found = find(loss_policy::omit, {{4}, {4}});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].where, (place{part::writeset, {3}}));
  EXPECT_EQ(found[0].block, *m_->writesets[0].bits.block(0));
  EXPECT_EQ(found[0].count, 1u);
  EXPECT_EQ(found[0].first, origin_block{5});
  EXPECT_EQ(found[0].newer, era_nr{4});
  EXPECT_EQ(found[1].first, origin_block{39'999});
}

TEST_F(Order, LooksOnlyWhereTheArrayIsNewerThanAWriteset) {
  EXPECT_EQ(find(loss_policy::omit, {{3}, {4}}).size(), 1u);
  EXPECT_TRUE(find(loss_policy::omit, {{3}, {3}}).empty());
}

TEST_F(Order, ALossIsAFindingIfItIsRefused) {
  built_.write(*m_->eras.block(0), pd::block{});
  find(loss_policy::omit, {{5}, {0}});
  EXPECT_EQ(findings_, 0);
  find(loss_policy::refuse, {{5}, {0}});
  EXPECT_EQ(findings_, 1);
}

// All of a lost block of the array was written in the current era, at the latest; all of a lost
// block of a bitset was listed.
TEST_F(Order, ALossCountsIfItIsToBeAssumed) {
  built_.write(*m_->eras.block(0), pd::block{});
  const auto found = find(loss_policy::assume_written, {{5}, {0}});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].count, 10u);
  EXPECT_TRUE(find(loss_policy::omit, {{5}, {0}}).empty());
}

TEST_F(Order, ALostBitsetBlockListsEverything) {
  built_.write(*m_->writesets[0].bits.block(0), pd::block{});
  const auto found = find(loss_policy::assume_written, {{4}, {0}});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].first, origin_block{5});
  EXPECT_TRUE(find(loss_policy::omit, {{4}, {0}}).empty());
}

}  // namespace
}  // namespace era
