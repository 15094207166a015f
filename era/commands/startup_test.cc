// SPDX-License-Identifier: GPL-3.0-or-later
// The program's surroundings as a caller may have left them. Each case is a process of its own.
#include "era/commands/startup.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

namespace era {
namespace {

// exit status 0: all is well
template <class Body>
void expect_in_child(Body body) {
  EXPECT_EXIT(std::_Exit(body() ? 0 : 1), ::testing::ExitedWithCode(0), "");
}

TEST(Startup, LeavesClosedDescriptorsUnusable) {
  for (int closed = 0; closed < 8; ++closed)
    expect_in_child([closed] {
      for (int fd = 0; fd < 3; ++fd)
        if ((closed >> fd & 1) != 0) ::close(fd);
      start_program();
      char byte = 0;
      for (int fd = 0; fd < 3; ++fd) {
        if ((closed >> fd & 1) == 0) continue;
        if (::read(fd, &byte, 1) != -1 || errno != EBADF) return false;
        if (::write(fd, &byte, 1) != -1 || errno != EBADF) return false;
      }
      return ::open("/dev/null", O_RDONLY) > 2;
    });
}

// A file that cannot be opened then has a message of its own.
TEST(Startup, NeedsNoFurtherDescriptor) {
  expect_in_child([] {
    const rlimit none{3, 3};
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) return false;
    start_program();
    return true;
  });
}

TEST(Startup, LearnsHowChildProcessesEnd) {
  expect_in_child([] {
    std::signal(SIGCHLD, SIG_IGN);
    start_program();
    const pid_t pid = ::fork();
    if (pid == 0) std::_Exit(5);
    int status = 0;
    return ::waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 5;
  });
}

}  // namespace
}  // namespace era
