// SPDX-License-Identifier: GPL-3.0-or-later
// For tests: a thread of which one can know that it waits for a lock.
#pragma once

#include <atomic>
#include <functional>
#include <thread>

namespace persistent_data::test {

// An exception that leaves the function aborts.
class watched_thread {
 public:
  explicit watched_thread(std::function<void()>);
  // Joins.
  ~watched_thread();
  watched_thread(const watched_thread&) = delete;
  watched_thread& operator=(const watched_thread&) = delete;

  bool has_ended() const noexcept { return has_ended_; }

  // Returns when the kernel has put the thread to sleep, or when its function has returned: however
  // slow the machine is, a thread that can run is waited for. A lock inside of malloc may put a
  // thread to sleep, too, for a moment. The thread may not do I/O that sleeps, or sleep itself.
  void wait_until_blocked() const;

 private:
  bool is_asleep() const;

  std::atomic<long> id_ = 0;  // the kernel's; 0: it has not begun
  std::atomic<bool> has_ended_ = false;
  std::thread thread_;
};

}  // namespace persistent_data::test
