// SPDX-License-Identifier: GPL-3.0-or-later
// The listening socket has an abstract address, which the kernel chooses. It is connected before
// qemu-nbd is there, so that nobody else can come first.
#include "era/backup/qemu_nbd.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include <fmt/format.h>

#include "era/backup/open_files.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

namespace pd = persistent_data;

constexpr int first_activated = 3;  // the descriptor, as socket activation says

[[noreturn]] void fail() {
  throw pd::device_error(fmt::format("cannot start qemu-nbd: {}", std::strerror(errno)));
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
[[noreturn]] void become(int server, pid_t parent, char** argv, char** envp, char* pid_digits) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
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
  allow_open_files(qemu_nbd_files, "cannot start qemu-nbd: it");
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
    become(server.get(), parent, const_cast<char**>(argv.data()), const_cast<char**>(envp.data()),
           end_of_digits);
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
