// SPDX-License-Identifier: GPL-3.0-or-later
// A mutex for loops that lock and unlock it again and again.
#pragma once

#include <mutex>

namespace era {

// A thread that waits gets it before a thread that unlocks it and locks it again. In which order
// several that wait get it is open.
class fair_mutex {
 public:
  void lock() {
    const std::lock_guard turn(turn_);
    held_.lock();
  }
  void unlock() { held_.unlock(); }

 private:
  std::mutex turn_;  // held by the thread that is next
  std::mutex held_;
};

}  // namespace era
