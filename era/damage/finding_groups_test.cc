// SPDX-License-Identifier: GPL-3.0-or-later
// Findings that are joined, and findings that must not be.
#include "era/damage/finding_groups.h"

#include <gtest/gtest.h>

#include <vector>

namespace era {
namespace {

finding damaged(std::uint64_t block, pd::range hidden, place where = {part::era_array}) {
  return {where, {block, block + 1}, {pd::error_class::bad_checksum, "wrong"}, hidden};
}

std::vector<finding> grouped(const std::vector<finding>& findings) {
  std::vector<finding> out;
  finding_groups groups([&](finding f) { out.push_back(std::move(f)); });
  for (const finding& f : findings) groups.add(f);
  groups.flush();
  groups.flush();  // a second time: nothing more
  return out;
}

TEST(FindingGroups, JoinsNeighbours) {
  const auto out = grouped({damaged(5, {0, 10}), damaged(6, {10, 20}), damaged(7, {20, 30})});
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].blocks, (pd::block_range{5, 8}));
  EXPECT_EQ(out[0].hidden, (pd::range{0, 30}));
}

TEST(FindingGroups, JoinsThoseThatHideNothing) {
  EXPECT_EQ(grouped({damaged(5, {}), damaged(6, {})}).size(), 1u);
}

TEST(FindingGroups, KeepsApartWhatDiffers) {
  EXPECT_EQ(grouped({damaged(5, {0, 10}), damaged(7, {10, 20})}).size(), 2u);  // blocks
  EXPECT_EQ(grouped({damaged(5, {0, 10}), damaged(6, {11, 20})}).size(), 2u);  // hidden
  EXPECT_EQ(grouped({damaged(5, {0, 10}), damaged(6, {})}).size(), 2u);        // one hides
  EXPECT_EQ(grouped({damaged(5, {}), damaged(6, {}, {part::space_map})}).size(), 2u);
  EXPECT_EQ(grouped({damaged(5, {}, {part::writeset, {3}}), damaged(6, {}, {part::writeset, {4}})})
                .size(),
            2u);
  finding other = damaged(6, {});
  other.error.text = "else";
  EXPECT_EQ(grouped({damaged(5, {}), other}).size(), 2u);
  other = damaged(6, {});
  other.error.type = pd::error_class::io_error;
  EXPECT_EQ(grouped({damaged(5, {}), other}).size(), 2u);
}

}  // namespace
}  // namespace era
