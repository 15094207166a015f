// SPDX-License-Identifier: GPL-3.0-or-later
// For a command that must not just die of ^C: signals are held back, and asked for.
#pragma once

#include <stdexcept>

namespace era {

class interrupted : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// While it lives, SIGINT, SIGTERM and SIGHUP wait until they are asked for; such as were ignored
// stay so. For one thread, before there are others.
class interruption {
 public:
  interruption();
  // Signals act again; those that came meanwhile and were asked for do not.
  ~interruption();
  interruption(const interruption&) = delete;
  interruption& operator=(const interruption&) = delete;

  // Throws interrupted if a signal has come.
  void check() const;
  // Waits until the descriptor can be read, or has ended. Throws interrupted at a signal.
  void wait_for(int fd) const;

 private:
  int fd_;
};

}  // namespace era
