// SPDX-License-Identifier: GPL-3.0-or-later
// Forks with a socket pair; the child's first byte says that it is ready.
#include "era/backup/child_process.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "persistent-data/format/errors.h"

namespace era {

namespace pd = persistent_data;

namespace {

constexpr char ready = 'r';

[[noreturn]] void fail(const char* name, int error) {
  throw pd::device_error(fmt::format("cannot start {}: {}", name, std::strerror(error)));
}

// MSG_NOSIGNAL: nobody may be there to read it.
bool send_byte(int socket, char byte) noexcept {
  ssize_t sent;
  do sent = ::send(socket, &byte, 1, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent == 1;
}

}  // namespace

child_process::child_process(const char* name, const std::function<int(int)>& body) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) fail(name, errno);
  socket_ = pd::unique_fd(ends[0]);
  pd::unique_fd of_child(ends[1]);
  pid_ = ::fork();
  if (pid_ < 0) fail(name, errno);
  if (pid_ == 0) {
    socket_.reset();  // or the child would not see the parent's end
    ::_exit(body(of_child.get()));
  }
  of_child.reset();
  try {
    // Not in every glibc.
    pidfd_ = pd::unique_fd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    if (!pidfd_) fail(name, errno);
    char byte = 0;
    ssize_t received;
    do received = ::recv(socket_.get(), &byte, 1, 0);
    while (received < 0 && errno == EINTR);
    if (received != 1 || byte != ready)
      throw pd::device_error(fmt::format("cannot start {}: the process ended at once", name));
  } catch (...) {
    socket_.reset();
    wait();
    throw;
  }
}

child_process::~child_process() {
  socket_.reset();
  wait();
}

bool child_process::say_ready(int socket) noexcept { return send_byte(socket, ready); }

bool child_process::tell(char byte) noexcept { return send_byte(socket_.get(), byte); }

int child_process::wait() noexcept {
  while (!has_ended_ && ::waitpid(pid_, &status_, 0) < 0)
    if (errno != EINTR) {
      status_ = W_EXITCODE(1, 0);  // how it ended is unknown
      break;
    }
  has_ended_ = true;
  return status_;
}

}  // namespace era
