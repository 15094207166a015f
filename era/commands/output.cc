// SPDX-License-Identifier: GPL-3.0-or-later
// Files by way of a temporary name.
#include "era/commands/output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include <fmt/format.h>

namespace era {
namespace {

// What a signal handler can remove: a name in static memory, or nothing.
char doomed[PATH_MAX];

extern "C" void remove_and_die(int signal) {
  if (doomed[0] != '\0') ::unlink(doomed);
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

void remove_on_signals(const std::string& path) {
  if (path.size() >= sizeof doomed) return;
  std::memcpy(doomed, path.c_str(), path.size() + 1);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
    struct sigaction action {};
    // A signal that was ignored from outside (nohup) stays ignored.
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) continue;
    ::signal(signal, remove_and_die);
  }
}

std::string without_links(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr),
                                                         &std::free);
  return real ? real.get() : path;
}

unsigned mode_of_new_files() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return 0666 & ~mask;
}

}  // namespace

output::output(const std::string& path)
    : name_(path.empty() || path == "-" ? "standard output" : path) {
  if (path.empty() || path == "-") return;
  struct stat status {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (!exists && errno != ENOENT) fail(errno);
  if (!exists) {
    create_beside(path, mode_of_new_files());
  } else if (S_ISREG(status.st_mode)) {
    if (::access(path.c_str(), W_OK) != 0) fail(errno);
    create_beside(without_links(path), status.st_mode & 0777);
  } else {
    fd_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd_ < 0) fail(errno);
  }
}

void output::create_beside(const std::string& target, unsigned mode) {
  path_ = target;
  temporary_ = target + ".XXXXXX";
  fd_ = ::mkostemp(temporary_.data(), O_CLOEXEC);
  if (fd_ < 0) {
    const int error = errno;
    temporary_.clear();
    fail(error);
  }
  remove_on_signals(temporary_);
  if (::fchmod(fd_, mode) != 0) fail(errno);
}

output::~output() {
  if (fd_ > 1) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  doomed[0] = '\0';
}

void output::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd_, text.data(), text.size());
    if (written >= 0)
      text.remove_prefix(static_cast<std::size_t>(written));
    else if (errno == EPIPE)
      throw closed_pipe();
    else if (errno != EINTR)
      fail(errno);
  }
}

void output::commit() {
  if (fd_ == 1) return;
  // Some targets (pipes) cannot be synchronised.
  if (::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS) fail(errno);
  if (::close(std::exchange(fd_, -1)) != 0) fail(errno);
  if (temporary_.empty()) return;
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail(errno);
  temporary_.clear();
}

void output::fail(int error) const {
  throw output_error(fmt::format("cannot write {}: {}", name_, std::strerror(error)));
}

}  // namespace era
