// SPDX-License-Identifier: GPL-3.0-or-later
// Signals as a descriptor: one that comes between a look and a read is not lost.
#include "era/commands/interruption.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include <fmt/format.h>

namespace era {
namespace {

sigset_t held_back() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action {};
    // One that was ignored from outside (nohup) stays ignored.
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler != SIG_IGN)
      ::sigaddset(&set, signal);
  }
  return set;
}

}  // namespace

interruption::interruption() {
  const sigset_t set = held_back();
  fd_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd_ < 0)
    throw std::runtime_error(fmt::format("cannot watch for signals: {}", std::strerror(errno)));
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
}

interruption::~interruption() {
  ::close(fd_);
  const sigset_t set = held_back();
  ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

void interruption::check() const {
  signalfd_siginfo info;
  if (::read(fd_, &info, sizeof info) == sizeof info)
    throw interrupted(
        fmt::format("ended by a signal ({})", ::strsignal(static_cast<int>(info.ssi_signo))));
}

void interruption::wait_for(int fd) const {
  pollfd watched[] = {{fd_, POLLIN, 0}, {fd, POLLIN, 0}};
  while (::poll(watched, 2, -1) < 0 && errno == EINTR) continue;
  check();
}

}  // namespace era
