// SPDX-License-Identifier: GPL-3.0-or-later
// The behaviour of a ring alone; io_engine_test.cc has what all engines have in common.
#include <fcntl.h>
#include <gtest/gtest.h>

#include "persistent-data/testing/engine_on_a_file.h"

namespace persistent_data {
namespace {

class UringEngine : public test::engine_on_a_file {};

// A device that cannot say at once that it will wait: the kernel gives the request back.
TEST_F(UringEngine, TransfersWhatTheKernelGivesBack) {
  test::failing_calls calls;
  const auto ring = make_uring_engine(fd, calls);
  if (!ring) GTEST_SKIP() << "the system does not grant a ring";
  calls.given_back = 4;
  block* to = fresh_buffer();
  test::read_ten(*ring, to);
  for (std::size_t b = 0; b < 10; ++b) EXPECT_TRUE(holds(to[b], b)) << b;
  EXPECT_EQ(calls.singles, 4);
}

// Otherwise the kernel would give back each request that it cannot do at once.
TEST_F(UringEngine, MayWait) {
  const int flags = ::fcntl(fd, F_GETFL);
  ASSERT_EQ(::fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
  if (!make_uring_engine(fd)) GTEST_SKIP() << "the system does not grant a ring";
  EXPECT_EQ(::fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
}

}  // namespace
}  // namespace persistent_data
