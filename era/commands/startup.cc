// SPDX-License-Identifier: GPL-3.0-or-later
// Descriptors, memory and signals.
#include "era/commands/startup.h"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <csignal>

#include "era/commands/command_line.h"

namespace era {
namespace {

// A device must not be opened as descriptor 0, 1 or 2: output would go there. A descriptor that was
// closed stays unusable: whoever reads or writes it gets EBADF.
void fill_standard_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
    if (::fcntl(fd, F_GETFD) < 0 && ::open("/", O_PATH) != fd) ::_exit(exit_failure);
}

// Each stripe's text comes and goes as some megabytes. Memory that was freed stays with the
// program: to get it from the system again costs more than to fill it.
void keep_freed_memory() {
#ifdef __GLIBC__
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
}

}  // namespace

void start_program() {
  fill_standard_descriptors();
  keep_freed_memory();
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is an error of the write, with a message
  std::signal(SIGPIPE, SIG_IGN);  // and a closed pipe one without
  // Else the system would wait for child processes itself, and nobody learn how they ended.
  std::signal(SIGCHLD, SIG_DFL);
}

}  // namespace era
