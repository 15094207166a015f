// SPDX-License-Identifier: GPL-3.0-or-later
// Signals that have to wait.
#pragma once

#include <csignal>
#include <initializer_list>

namespace era {

// Blocks the signals for this thread while it lives; those that came meanwhile are delivered then.
class blocked_signals {
 public:
  explicit blocked_signals(std::initializer_list<int> signals) noexcept {
    sigset_t blocked;
    ::sigemptyset(&blocked);
    for (const int signal : signals) ::sigaddset(&blocked, signal);
    ::sigprocmask(SIG_BLOCK, &blocked, &before_);
  }
  ~blocked_signals() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  blocked_signals(const blocked_signals&) = delete;
  blocked_signals& operator=(const blocked_signals&) = delete;

  // The mask of before, which programs that are started meanwhile are to have.
  const sigset_t& before() const noexcept { return before_; }

 private:
  sigset_t before_{};
};

}  // namespace era
