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

sigset_t not_ignored() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action {};
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler != SIG_IGN)
      ::sigaddset(&set, signal);
  }
  return set;
}

}  // namespace

interruption::interruption() : held_back_(not_ignored()) {
  fd_ = ::signalfd(-1, &held_back_, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd_ < 0)
    throw std::runtime_error(fmt::format("cannot watch for signals: {}", std::strerror(errno)));
  ::sigprocmask(SIG_BLOCK, &held_back_, nullptr);
}

interruption::~interruption() {
  ::close(fd_);
  // To ignore a signal drops it, too, if it is pending.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    if (::sigismember(&held_back_, signal) == 1) ::signal(signal, SIG_IGN);
  ::sigprocmask(SIG_UNBLOCK, &held_back_, nullptr);
}

void interruption::check() const {
  signalfd_siginfo info;
  if (::read(fd_, &info, sizeof info) == sizeof info)
    throw interruption_error(
        fmt::format("ended by a signal ({})", ::strsignal(static_cast<int>(info.ssi_signo))));
}

void interruption::wait_for(int fd) const { wait(fd, POLLIN); }

void interruption::wait_for_room(int fd) const { wait(fd, POLLOUT); }

void interruption::wait(int fd, short events) const {
  pollfd watched[] = {{fd_, POLLIN, 0}, {fd, events, 0}};
  while (::poll(watched, 2, -1) < 0 && errno == EINTR) continue;
  check();
}

}  // namespace era
