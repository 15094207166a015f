// SPDX-License-Identifier: GPL-3.0-or-later
// A small process that resumes a suspended device if the process that suspended it is killed, or
// hangs.
#pragma once

#include <chrono>
#include <string>

#include "era/backup/child_process.h"
#include "era/backup/device_mapper.h"

namespace era {

struct resume_watchdog_options {
  std::string device;
  // The longest time from suspended() to done().
  std::chrono::milliseconds limit{};
};

// For one thread, as long as the program has no other.
class resume_watchdog {
 public:
  // Forks the process. It has a session of its own, blocks all signals, locks its memory if it may,
  // and has the device mapper's node open. Throws device_error.
  resume_watchdog(device_mapper&, const resume_watchdog_options&);

  // The device is suspended: the watchdog resumes it if done() does not follow within the limit.
  void suspended() noexcept { process_.tell(told_suspended); }
  // The device runs again. If this was not called when this object or the process ends, the
  // watchdog resumes the device if it is suspended, and says so on standard error.
  void done() noexcept { process_.tell(told_done); }

  // The watchdog's work, for tests; `socket` is its end. Returns its exit status: 1 if it had to
  // resume the device and could not.
  static int watch(int socket, device_mapper&, const resume_watchdog_options&) noexcept;

 private:
  static constexpr char told_suspended = 's', told_done = 'd';

  child_process process_;
};

}  // namespace era
