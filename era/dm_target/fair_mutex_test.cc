// SPDX-License-Identifier: GPL-3.0-or-later
// A thread that waits gets the mutex before the one that has just released it.
#include "era/dm_target/fair_mutex.h"

#include <gtest/gtest.h>

#include "persistent-data/testing/watched_thread.h"

namespace era {
namespace {

namespace pd = persistent_data;
using pd::test::watched_thread;

// A plain mutex goes to whoever is faster, mostly the thread that is running.
TEST(FairMutex, GoesToTheThreadThatWaits) {
  fair_mutex mutex;
  for (int round = 0; round < 500; ++round) {
    bool was_other = false;
    mutex.lock();
    const watched_thread other([&] {
      const std::lock_guard lock(mutex);
      was_other = true;
    });
    other.wait_until_blocked();
    mutex.unlock();
    const std::lock_guard again(mutex);
    ASSERT_TRUE(was_other) << "round " << round;
  }
}

}  // namespace
}  // namespace era
