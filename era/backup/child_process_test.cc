// SPDX-License-Identifier: GPL-3.0-or-later
// The child is told to begin, sees the end of its parent, and is ready or an error.
#include "era/backup/child_process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <csignal>

#include "persistent-data/format/errors.h"

namespace era {
namespace {

TEST(ChildProcess, IsTold) {
  child_process child("a child", [](int socket) {
    char told = 0;
    const bool heard = child_process::say_ready(socket) && ::recv(socket, &told, 1, 0) == 1;
    return heard ? told : 1;
  });
  EXPECT_NE(::fcntl(child.socket(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(::fcntl(child.pidfd(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_TRUE(child.tell(42));
  for (int i = 0; i < 2; ++i) EXPECT_EQ(WEXITSTATUS(child.wait()), 42);
  pollfd ended{child.pidfd(), POLLIN, 0};
  EXPECT_EQ(::poll(&ended, 1, 0), 1);
  const auto action = ::signal(SIGPIPE, SIG_DFL);
  EXPECT_FALSE(child.tell(42));  // and this process lives
  ::signal(SIGPIPE, action);
}

TEST(ChildProcess, SeesTheEndOfItsParent) {
  pid_t pid = 0;
  {
    const child_process child("a child", [](int socket) {
      char told = 0;
      return child_process::say_ready(socket) && ::recv(socket, &told, 1, 0) == 0 ? 0 : 1;
    });
    pid = child.pid();
  }
  EXPECT_EQ(::waitpid(pid, nullptr, 0), -1) << "was not waited for";
}

TEST(ChildProcess, IsReadyOrAnError) {
  try {
    child_process("a child", [](int) { return 3; });
    ADD_FAILURE();
  } catch (const persistent_data::device_error& e) {
    EXPECT_STREQ(e.what(), "cannot start a child: the process ended at once");
  }
  EXPECT_EQ(::waitpid(-1, nullptr, 0), -1) << "was not waited for";
}

}  // namespace
}  // namespace era
