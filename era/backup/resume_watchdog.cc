// SPDX-License-Identifier: GPL-3.0-or-later
// The parent has the only other end of the socket, so the end of file says that it has ended, in
// whatever way.
#include "era/backup/resume_watchdog.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <exception>
#include <optional>

#include <fmt/format.h>

namespace era {
namespace {

using steady = std::chrono::steady_clock;

// Returns false if the deadline passes first.
bool wait_until(int socket, std::optional<steady::time_point> deadline) noexcept {
  for (;;) {
    int wait = -1;
    if (deadline) {
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(*deadline - steady::now()).count();
      wait = static_cast<int>(std::clamp<decltype(left + 0)>(left, 0, INT_MAX));
    }
    pollfd watched{socket, POLLIN, 0};
    const int ready = ::poll(&watched, 1, wait);
    if (ready > 0) return true;
    if (ready == 0) return false;
  }
}

void say(const std::string& text) noexcept {
  // Nobody is left to whom a failure could be told.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

int resume(device_mapper& dm, const std::string& device, const char* why) noexcept {
  try {
    try {
      if (!dm.info(device).suspended) return 0;
      dm.resume(device);
      say(fmt::format("mapped device {} was suspended, and is resumed: {}\n", device, why));
      return 0;
    } catch (const std::exception& e) {
      say(fmt::format("{}\nresume it: dmsetup resume {}\n", e.what(), device));
    }
  } catch (...) {  // no memory for the text
  }
  return 1;
}

}  // namespace

int resume_watchdog::watch(int socket, device_mapper& dm,
                           const resume_watchdog_options& options) noexcept {
  std::optional<steady::time_point> deadline;
  for (;;) {
    if (!wait_until(socket, deadline))
      return resume(dm, options.device, "the program that suspended it took too long");
    char told = 0;
    const ssize_t bytes = ::recv(socket, &told, 1, 0);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) return resume(dm, options.device, "the program that suspended it has ended");
    if (told == told_done) return 0;
    deadline = steady::now() + options.limit;
  }
}

resume_watchdog::resume_watchdog(device_mapper& dm, const resume_watchdog_options& options)
    : process_("the process that resumes the device if this one is killed", [&](int socket) {
        ::setsid();
        ::prctl(PR_SET_NAME, "era_watchdog");
        sigset_t all;
        ::sigfillset(&all);
        ::sigprocmask(SIG_SETMASK, &all, nullptr);
        ::mlockall(MCL_CURRENT | MCL_FUTURE);
        try {
          dm.info(options.device);  // everything that a call needs is there now
        } catch (const std::exception&) {
          return 1;
        }
        return child_process::say_ready(socket) ? watch(socket, dm, options) : 1;
      }) {}

}  // namespace era
