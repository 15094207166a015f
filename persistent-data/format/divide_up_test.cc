// SPDX-License-Identifier: GPL-3.0-or-later
// Around whole parts, and where a sum would overflow.
#include "persistent-data/format/divide_up.h"

#include <gtest/gtest.h>

#include <limits>

namespace persistent_data {
namespace {

TEST(DivideUp, CountsThePartThatIsNotFull) {
  EXPECT_EQ(divide_up(0, 4), 0u);
  EXPECT_EQ(divide_up(1, 4), 1u);
  EXPECT_EQ(divide_up(4, 4), 1u);
  EXPECT_EQ(divide_up(5, 4), 2u);
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(divide_up(most, 2), (most >> 1) + 1);
}

}  // namespace
}  // namespace persistent_data
