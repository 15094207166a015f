// SPDX-License-Identifier: GPL-3.0-or-later
// See watched_thread.h. The state of a thread is in /proc, proc(5).
#include "persistent-data/testing/watched_thread.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include <fmt/format.h>

namespace persistent_data::test {

watched_thread::watched_thread(std::function<void()> run)
    : thread_([this, run = std::move(run)] {
        id_ = ::syscall(SYS_gettid);
        run();
        has_ended_ = true;
      }) {}

watched_thread::~watched_thread() { thread_.join(); }

void watched_thread::wait_until_blocked() const {
  // Several times in a row: nobody stays in malloc.
  constexpr int enough = 5;
  for (int asleep = 0; asleep < enough && !has_ended_;) {
    asleep = is_asleep() ? asleep + 1 : 0;
    std::this_thread::yield();
  }
}

bool watched_thread::is_asleep() const {
  if (id_ == 0) return false;
  std::FILE* stat = std::fopen(fmt::format("/proc/self/task/{}/stat", id_.load()).c_str(), "re");
  if (stat == nullptr) return false;  // it has just ended
  // NUMBER (NAME) STATE ...
  char state = 0;
  const bool is_read = std::fscanf(stat, "%*d (%*[^)]) %c", &state) == 1;
  std::fclose(stat);
  return is_read && state == 'S';
}

}  // namespace persistent_data::test
