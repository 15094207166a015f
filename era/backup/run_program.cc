// SPDX-License-Identifier: GPL-3.0-or-later
// The program writes into files without a name, which never fill up as pipes do.
//
// A signal that ends this process waits until the program has ended: it could still make a file
// that was removed by then.
#include "era/backup/run_program.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "era/backup/blocked_signals.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/unique_fd.h"

namespace era {
namespace {

namespace pd = persistent_data;

pd::unique_fd memory_file(const std::string& program) {
  pd::unique_fd fd(::memfd_create("output", MFD_CLOEXEC));
  if (!fd) throw pd::device_error(fmt::format("cannot run {}: {}", program, std::strerror(errno)));
  return fd;
}

std::string content_of(const pd::unique_fd& fd) {
  std::string text;
  char buffer[4096];
  off_t at = 0;
  for (ssize_t got = 0; (got = ::pread(fd.get(), buffer, sizeof buffer, at)) > 0; at += got)
    text.append(buffer, static_cast<std::size_t>(got));
  return text;
}

struct spawn_options {
  spawn_options() {
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawnattr_init(&attributes);
  }
  ~spawn_options() {
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&files);
  }
  spawn_options(const spawn_options&) = delete;
  spawn_options& operator=(const spawn_options&) = delete;
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
};

}  // namespace

std::string run_program(const std::vector<std::string>& arguments, const std::string& package) {
  const std::string& program = arguments.front();
  const pd::unique_fd out = memory_file(program), err = memory_file(program);
  spawn_options options;
  ::posix_spawn_file_actions_addopen(&options.files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&options.files, out.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&options.files, err.get(), STDERR_FILENO);
  const blocked_signals wait{SIGINT, SIGTERM, SIGHUP};
  ::posix_spawnattr_setsigmask(&options.attributes, &wait.before());
  // A process group of its own: what the terminal sends does not reach the program.
  ::posix_spawnattr_setpgroup(&options.attributes, 0);
  ::posix_spawnattr_setflags(&options.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  std::vector<char*> argv;
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  pid_t pid = 0;
  if (const int error = ::posix_spawnp(&pid, program.c_str(), &options.files, &options.attributes,
                                       argv.data(), environ))
    throw pd::device_error(
        fmt::format("cannot run {}: {}{}", program, std::strerror(error),
                    error == ENOENT ? fmt::format("; install Debian's package {}", package) : ""));
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR)
      throw pd::device_error(fmt::format("cannot wait for {}: {}", program, std::strerror(errno)));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return content_of(out);
  std::string why = content_of(err);
  while (!why.empty() && why.back() == '\n') why.pop_back();
  if (why.empty())
    why = WIFSIGNALED(status) ? fmt::format("was ended by signal {}", WTERMSIG(status))
                              : fmt::format("ended with status {}", WEXITSTATUS(status));
  throw pd::device_error(fmt::format("{}: {}", fmt::join(arguments, " "), why));
}

}  // namespace era
