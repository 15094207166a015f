// SPDX-License-Identifier: GPL-3.0-or-later
// Each part and class of damage hides something else.
#include "era/repair/noted_losses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace era {
namespace {

using pd::error_class;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t no_end = std::numeric_limits<std::uint64_t>::max();

finding found(part what, error_class type, pd::range hidden, std::uint32_t era = 0) {
  return {{what, {era}}, {}, {type, ""}, hidden};
}

writeset of_era(std::uint32_t era) {
  writeset ws;
  ws.era = {era};
  ws.nr_bits = 100;
  return ws;
}

TEST(NotedLosses, AreErasOfTheWritesetTree) {
  noted_losses losses;
  losses.note(found(part::writeset_tree, error_class::bad_checksum, {3, 9}));
  losses.note(found(part::writeset_tree, error_class::bad_shape, {3, 9}));
  EXPECT_THAT(losses.eras, ElementsAre(pd::range{3, 9}, every_era));
}

TEST(NotedLosses, AreNotThoseOfAWritesetThatIsThere) {
  noted_losses losses;
  losses.note(found(part::writeset_tree, error_class::bad_value, {7, 8}));
  losses.note(found(part::writeset_tree, error_class::bad_checksum, {}));
  EXPECT_THAT(losses.eras, IsEmpty());
  losses.note(found(part::writeset_tree, error_class::bad_value, {last_era_of_a_key + 1, no_end}));
  EXPECT_THAT(losses.eras, ElementsAre(every_era));
}

TEST(NotedLosses, AreStripesOfTheOrigin) {
  noted_losses losses(3 * blocks_per_stripe + 1);
  losses.note(found(part::era_array, error_class::io_error, {0, 1}));
  losses.note(found(part::writeset, error_class::io_error, {2 * blocks_per_stripe, no_end}, 3));
  EXPECT_THAT(losses.in_stripe, ElementsAre(true, false, true, true));
  EXPECT_THAT(losses.blocks_of_array, ElementsAre(pd::range{0, 1}));
}

TEST(NotedLosses, PutSizesOfWritesetsInDoubt) {
  noted_losses losses(1000);
  for (const std::uint32_t era : {9u, 4u})
    losses.note(found(part::writeset, error_class::missing, {0, 64}, era));
  losses.note(found(part::writeset, error_class::out_of_order, {}, 5));
  losses.sort();
  for (const std::uint32_t era : {4u, 9u}) EXPECT_TRUE(losses.is_size_in_doubt(of_era(era))) << era;
  for (const std::uint32_t era : {3u, 5u})
    EXPECT_FALSE(losses.is_size_in_doubt(of_era(era))) << era;

  writeset current = of_era(9);
  current.is_current = true;
  EXPECT_FALSE(losses.is_size_in_doubt(current));
  losses.note(found(part::current_writeset, error_class::missing, {0, 64}, 9));
  EXPECT_TRUE(losses.is_size_in_doubt(current));

  writeset impossible = of_era(3);
  impossible.nr_bits = max_origin_blocks + 1;
  EXPECT_TRUE(losses.is_size_in_doubt(impossible));
}

}  // namespace
}  // namespace era
