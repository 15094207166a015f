// SPDX-License-Identifier: GPL-3.0-or-later
// The program writes into files without a name, which never fill up as pipes do.
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

struct spawn_actions {
  spawn_actions() { ::posix_spawn_file_actions_init(&actions); }
  ~spawn_actions() { ::posix_spawn_file_actions_destroy(&actions); }
  spawn_actions(const spawn_actions&) = delete;
  spawn_actions& operator=(const spawn_actions&) = delete;
  posix_spawn_file_actions_t actions;
};

}  // namespace

std::string run_program(const std::vector<std::string>& arguments, const std::string& package) {
  const std::string& program = arguments.front();
  const pd::unique_fd out = memory_file(program), err = memory_file(program);
  spawn_actions files;
  ::posix_spawn_file_actions_addopen(&files.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&files.actions, out.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&files.actions, err.get(), STDERR_FILENO);
  std::vector<char*> argv;
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  pid_t pid = 0;
  if (const int error =
          ::posix_spawnp(&pid, program.c_str(), &files.actions, nullptr, argv.data(), environ))
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
