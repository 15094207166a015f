// SPDX-License-Identifier: GPL-3.0-or-later
// Each operation of the metadata device fails, and each of the origin: calls throw, acknowledged
// writes stay listed, the metadata stays sound.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "era/testing/tracked_device.h"

namespace era {
namespace {

using test::large;
using test::one_of;
using test::sizes;
using test::small;
using test::tracked_device;

// fail(device, n) sets operation n up to fail and returns the counter of operations. Returns how
// many operations there were to fail.
template <class Fail>
std::uint64_t fail_each(unsigned seed, Fail fail, const sizes& s = small) {
  for (std::uint64_t n = 1;; n += one_of) {
    SCOPED_TRACE(fmt::format("seed {}, operation {}", seed, n));
    tracked_device d(s);
    const auto& operations = fail(d, n);
    d.work(seed);
    const bool has_failed = operations >= n;
    EXPECT_EQ(d.failed > 0, has_failed);
    EXPECT_EQ(d.full, 0u);
    d.judge();
    if (!has_failed || ::testing::Test::HasFailure()) return n;
  }
}

TEST(TargetFailure, OfAnOperationOfTheMetadataDevice) {
  for (unsigned seed = 1; seed <= 3; ++seed)
    for (const bool for_good : {false, true}) {
      const std::uint64_t operations = fail_each(
          seed, [&](tracked_device & d, std::uint64_t n) -> auto& {
            d.store.failing_operation = n;
            d.store.fails_for_good = for_good;
            return d.store.operations;
          });
      EXPECT_GT(operations, 100u);
    }
}

TEST(TargetFailure, OfAnOperationBetweenCommits) {
  const std::uint64_t operations = fail_each(
      5, [](tracked_device & d, std::uint64_t n) -> auto& {
        d.store.failing_operation = n;
        return d.store.operations;
      },
      large);
  EXPECT_GT(operations, 500u);
}

// The block may be listed, and the next write of it goes on.
TEST(TargetFailure, OfAnOperationOfTheOrigin) {
  const std::uint64_t operations = fail_each(
      4, [](tracked_device & d, std::uint64_t n) -> auto& {
        d.origin.failing_operation = n;
        return d.origin.operations;
      });
  EXPECT_GT(operations, 15u);
}

}  // namespace
}  // namespace era
