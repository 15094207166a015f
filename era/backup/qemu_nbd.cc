// SPDX-License-Identifier: GPL-3.0-or-later
// The listening socket has an abstract address, which the kernel chooses. It is connected before
// qemu-nbd is there, so that nobody else can come first.
#include "era/backup/qemu_nbd.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <fmt/format.h>

#include "persistent-data/format/errors.h"

namespace era {
namespace {

namespace pd = persistent_data;

constexpr int first_activated = 3;  // the descriptor, as socket activation says
constexpr rlim_t open_files = 64;   // with fewer it could wait for one for ever

[[noreturn]] void fail() {
  throw pd::device_error(fmt::format("cannot start qemu-nbd: {}", std::strerror(errno)));
}

// Returns the limit that qemu-nbd is to have.
rlimit raised_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) fail();
  if (limit.rlim_max < open_files)
    throw pd::device_error(
        fmt::format("cannot start qemu-nbd: no more than {} files may be open, and it needs {}; "
                    "raise the limit (ulimit -n)",
                    limit.rlim_max, open_files));
  limit.rlim_cur = std::max(limit.rlim_cur, open_files);
  return limit;
}

pd::unique_fd make_socket() {
  pd::unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) fail();
  return fd;
}

pd::unique_fd connected_to(const pd::unique_fd& server) {
  sockaddr_un address{};
  socklen_t length = sizeof address.sun_family;
  address.sun_family = AF_UNIX;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (::bind(server.get(), any, length) != 0 || ::listen(server.get(), 1) != 0) fail();
  length = sizeof address;
  if (::getsockname(server.get(), any, &length) != 0) fail();
  pd::unique_fd client = make_socket();
  if (::connect(client.get(), any, length) != 0) fail();
  return client;
}

// Our environment, and what qemu-nbd has to find there.
std::vector<std::string> environment() {
  std::vector<std::string> all;
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string entry = *e;
    if (!entry.starts_with("LISTEN_") && !entry.starts_with("MALLOC_")) all.push_back(entry);
  }
  all.emplace_back("LISTEN_FDS=1");
  // Or glibc gives the memory of each request back, and its pages are cleared for the next: that
  // takes longer than the copying.
  all.emplace_back("MALLOC_MMAP_THRESHOLD_=33554432");
  all.emplace_back("MALLOC_TRIM_THRESHOLD_=67108864");
  return all;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// In the new process, where only functions that a signal handler may call are allowed.
[[noreturn]] void become(int server, pid_t parent, const rlimit& files, char** argv, char** envp,
                         char* pid_digits) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::setrlimit(RLIMIT_NOFILE, &files);
  ::setpgid(0, 0);                        // what the terminal sends is for era_backup to decide
  if (::getppid() != parent) ::_exit(1);  // it has died already
  sigset_t of_the_end;
  ::sigemptyset(&of_the_end);
  ::sigaddset(&of_the_end, SIGTERM);
  ::sigprocmask(SIG_UNBLOCK, &of_the_end, nullptr);
  for (pid_t pid = ::getpid(); pid > 0; pid /= 10)
    *--pid_digits = static_cast<char>('0' + pid % 10);
  if (server == first_activated)
    ::fcntl(server, F_SETFD, 0);
  else
    ::dup2(server, first_activated);
  ::execvpe(argv[0], argv, envp);
  ::_exit(127);
}

}  // namespace

qemu_nbd::qemu_nbd(const std::vector<std::string>& arguments) {
  const rlimit files = raised_limit();
  pd::unique_fd server = make_socket();
  client_ = connected_to(server);
  std::vector<std::string> words = arguments, variables = environment();
  // Its own number is known only to the new process; zeros before a number do no harm.
  variables.emplace_back("LISTEN_PID=0000000000");
  const std::vector<char*> argv = pointers_to(words), envp = pointers_to(variables);
  char* const end_of_digits = variables.back().data() + variables.back().size();
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) fail();
  if (pid_ == 0)
    become(server.get(), parent, files, const_cast<char**>(argv.data()),
           const_cast<char**>(envp.data()), end_of_digits);
}

qemu_nbd::~qemu_nbd() {
  client_.reset();
  // A client that did not finish the negotiation does not end it. An image is closed in order.
  ::kill(pid_, SIGTERM);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
}

int qemu_nbd::connect() {
  const int fd = ::fcntl(client_.get(), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) fail();
  client_.reset();
  return fd;
}

}  // namespace era
