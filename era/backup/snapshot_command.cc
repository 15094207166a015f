// SPDX-License-Identifier: GPL-3.0-or-later
// 1. A child is forked, before the device is suspended, and waits at its socket.
// 2. It is told to begin, and executes the shell. Its output goes to memory: a file could be on the
//    suspended device.
// 3. A pidfd tells that it has ended, a timerfd that its time is over, and an epoll descriptor
//    combines the two for the caller's way of waiting.
#include "era/backup/snapshot_command.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <ctime>
#include <string_view>

#include <fmt/format.h>

#include "era/text/printable.h"
#include "persistent-data/format/errors.h"

namespace era {

namespace pd = persistent_data;

namespace {

constexpr char go = 'g';

[[noreturn]] void fail(const char* step) {
  throw pd::device_error(
      fmt::format("cannot run the snapshot command: {}: {}", step, std::strerror(errno)));
}

bool can_be_read(int fd, std::chrono::milliseconds within = {}) noexcept {
  pollfd watched{fd, POLLIN, 0};
  const auto most = static_cast<std::chrono::milliseconds::rep>(INT_MAX);
  int ready;
  do ready = ::poll(&watched, 1, static_cast<int>(std::min(within.count(), most)));
  while (ready < 0 && errno == EINTR);
  return ready > 0;
}

// Calls only what is safe in a signal handler. Returns if it fails.
int become_shell(int socket, int output, char* const* arguments, char* const* environment) {
  constexpr int cannot_execute = 127;
  ::setsid();
  // signal() leaves out two that the C library uses, and that make hands down ignored.
  static constexpr unsigned long default_action[8] = {};
  for (int signal = 1; signal < NSIG; ++signal)
    ::syscall(SYS_rt_sigaction, signal, default_action, nullptr, (NSIG - 1) / 8);
  const int input = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (input < 0 || !child_process::say_ready(socket)) return cannot_execute;
  char byte = 0;
  ssize_t received;
  do received = ::recv(socket, &byte, 1, 0);
  while (received < 0 && errno == EINTR);
  if (received != 1 || byte != go) return cannot_execute;

  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::dup2(input, STDIN_FILENO) < 0 || ::dup2(output, STDOUT_FILENO) < 0 ||
      ::dup2(output, STDERR_FILENO) < 0)
    return cannot_execute;
  // Descriptors that a library has opened without O_CLOEXEC are closed. Linux before 5.11 cannot.
  constexpr unsigned first = 3, last = ~0u, close_on_exec = 1u << 2;
  ::syscall(SYS_close_range, first, last, close_on_exec);
  ::execve(arguments[0], arguments, environment);
  return cannot_execute;
}

// The last lines of a text, as one line; empty if it has none.
std::string last_lines(std::string_view text) {
  constexpr int most = 3;
  constexpr std::size_t longest = 300;
  std::string result;
  for (int lines = 0; lines < most && !text.empty();) {
    const std::size_t newline = text.find_last_of('\n');
    const std::size_t begin = newline == text.npos ? 0 : newline + 1;
    std::string_view line = text.substr(begin);
    text = text.substr(0, begin == 0 ? 0 : newline);
    line.remove_prefix(std::min(line.find_first_not_of(" \t\r"), line.size()));
    if (line.empty()) continue;
    result = printable(line, longest) + (result.empty() ? "" : "; ") + result;
    ++lines;
  }
  return result;
}

}  // namespace

snapshot_command::snapshot_command(
    snapshot_command_options options,
    const std::vector<std::pair<std::string, std::string>>& variables)
    : options_(std::move(options)) {
  output_ = pd::unique_fd(::memfd_create("output of the snapshot command", MFD_CLOEXEC));
  if (!output_) fail("memory for its output");

  std::vector<std::string> texts;
  for (const auto& [name, value] : variables) texts.push_back(name + '=' + value);
  std::vector<char*> environment;
  for (char** at = ::environ; at && *at; ++at)
    if (std::none_of(variables.begin(), variables.end(), [at](const auto& variable) {
          return std::string_view(*at).starts_with(variable.first + '=');
        }))
      environment.push_back(*at);
  for (std::string& text : texts) environment.push_back(text.data());
  environment.push_back(nullptr);
  std::string shell = "/bin/sh", option = "-c";
  char* const arguments[] = {shell.data(), option.data(), options_.shell.data(), nullptr};
  process_.emplace("the snapshot command", [&](int socket) {
    return become_shell(socket, output_.get(), arguments, environment.data());
  });
}

snapshot_command::~snapshot_command() {
  if (is_running_) terminate();
}

void snapshot_command::run(const wait_function& wait_for) {
  const pd::unique_fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  const pd::unique_fd either(::epoll_create1(EPOLL_CLOEXEC));
  if (!timer || !either) fail("a timer");
  for (const int fd : {timer.get(), process_->pidfd()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (::epoll_ctl(either.get(), EPOLL_CTL_ADD, fd, &event) != 0) fail("a timer");
  }
  constexpr std::chrono::milliseconds::rep ms = 1000, ns_of_ms = 1'000'000;
  itimerspec limit{};
  limit.it_value.tv_sec = static_cast<time_t>(options_.time_limit.count() / ms);
  limit.it_value.tv_nsec = static_cast<long>(options_.time_limit.count() % ms * ns_of_ms);
  if (::timerfd_settime(timer.get(), 0, &limit, nullptr) != 0) fail("a timer");

  is_running_ = true;
  process_->tell(go);
  try {
    do {
      wait_for(either.get());
      timed_out_ = !can_be_read(process_->pidfd()) && can_be_read(timer.get());
      if (timed_out_) terminate();
    } while (!timed_out_ && !can_be_read(process_->pidfd()));
  } catch (...) {
    terminate();
    throw;
  }
  is_running_ = false;
}

// SIGCONT, since a process that is stopped does not take SIGTERM.
void snapshot_command::terminate() noexcept {
  is_running_ = false;
  for (const int signal : {SIGTERM, SIGCONT}) ::kill(-process_->pid(), signal);
  can_be_read(process_->pidfd(), options_.grace);
  ::kill(-process_->pid(), SIGKILL);
  can_be_read(process_->pidfd(), options_.grace);
}

std::string snapshot_command::read_output() const {
  constexpr off_t most = 64 << 10;
  struct stat found {};
  if (::fstat(output_.get(), &found) != 0) return "";
  std::string text(static_cast<std::size_t>(std::min(found.st_size, most)), '\0');
  const ssize_t bytes =
      ::pread(output_.get(), text.data(), text.size(), std::max<off_t>(found.st_size - most, 0));
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(bytes, 0)));
  return text;
}

std::string snapshot_command::output() {
  const int status = process_->wait();
  std::string how, text = read_output();
  if (timed_out_)
    how = fmt::format("was ended, since it took longer than {:g} s",
                      std::chrono::duration<double>(options_.time_limit).count());
  else if (WIFSIGNALED(status))
    how = fmt::format("was killed by a signal ({})", ::strsignal(WTERMSIG(status)));
  else if (WEXITSTATUS(status) != 0)
    how = fmt::format("failed with exit status {}", WEXITSTATUS(status));
  else
    return text;
  const std::string said = last_lines(text);
  throw pd::device_error(fmt::format("the snapshot command {}: {}{}{}", how,
                                     printable(options_.shell, 200),
                                     said.empty() ? "" : "; it printed: ", said));
}

}  // namespace era
