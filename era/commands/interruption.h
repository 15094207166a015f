// SPDX-License-Identifier: GPL-3.0-or-later
// Holds back signals for a command that must end in order.
#pragma once

#include <csignal>
#include <stdexcept>

namespace era {

class interruption_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Holds SIGINT, SIGTERM and SIGHUP back until the command asks for them; a signal that was ignored
// from outside (nohup) stays ignored. For one thread, before there are others.
class interruption {
 public:
  interruption();
  // The command has ended. Signals that are held back are dropped and later ones are ignored, so
  // that the exit status says what the command did.
  ~interruption();
  interruption(const interruption&) = delete;
  interruption& operator=(const interruption&) = delete;

  // Throws interruption_error if a signal has come.
  void check() const;
  // Wait until the descriptor can be read, or takes a write of up to PIPE_BUF bytes, or has ended.
  // Throw interruption_error if a signal comes. A FIFO without a writer cannot be read yet, if it
  // was opened with O_NONBLOCK.
  void wait_for(int fd) const;
  void wait_for_room(int fd) const;

 private:
  void wait(int fd, short events) const;

  sigset_t held_back_;
  int fd_;
};

}  // namespace era
