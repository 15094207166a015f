// SPDX-License-Identifier: GPL-3.0-or-later
// The names are in static memory, too, where a signal handler can read them.
#include "era/commands/temporary_name.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <initializer_list>
#include <random>
#include <string_view>
#include <utility>

#include "era/backup/blocked_signals.h"

namespace era {

namespace pd = persistent_data;

namespace {

// Those that the program does not raise by a fault of its own.
constexpr std::initializer_list<int> ending_signals = {SIGINT,  SIGTERM, SIGHUP,  SIGPIPE,
                                                       SIGQUIT, SIGALRM, SIGPROF, SIGVTALRM,
                                                       SIGUSR1, SIGUSR2, SIGXCPU};

enum : int { unused, being_filled, armed };

struct slot {
  std::atomic<int> state = unused;
  int directory = -1;
  char name[32] = "";
};
std::array<slot, 16> slots;
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void remove_and_die(int signal) {
  for (const slot& s : slots)
    if (s.state == armed) ::unlinkat(s.directory, s.name, 0);
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

void handle_signals() {
  for (const int signal : ending_signals) {
    struct sigaction action {};
    // Ignored from outside (nohup), or by start_program (SIGPIPE), or with a handler of its own, as
    // a profiler's: it stays so.
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_DFL)
      ::signal(signal, remove_and_die);
  }
}

std::string random_name() {
  static constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz012345";
  std::random_device random;
  std::string name = ".era_";
  for (int i = 0; i < 8; ++i) name += letters[random() % letters.size()];
  return name;
}

}  // namespace

temporary_name::temporary_name(int directory, std::string name)
    : directory_(directory), name_(std::move(name)) {
  assert(name_.size() < sizeof slot::name);
  for (slot_ = 0; slot_ < slots.size(); ++slot_) {
    slot& s = slots[slot_];
    int expected = unused;
    if (!s.state.compare_exchange_strong(expected, being_filled)) continue;
    s.directory = directory;
    std::memcpy(s.name, name_.c_str(), name_.size() + 1);
    s.state = armed;
    break;
  }
  handle_signals();
}

temporary_name::~temporary_name() {
  if (released_) return;
  ::unlinkat(directory_, name_.c_str(), 0);
  release();
}

void temporary_name::release() noexcept {
  if (slot_ < slots.size()) slots[slot_].state = unused;
  released_ = true;
}

pd::unique_fd make_temporary_file(int directory, unsigned mode,
                                  std::optional<temporary_name>& name) {
  const blocked_signals until_it_is_known(ending_signals);
  for (int tries = 0; tries < 100; ++tries) {
    const std::string random = random_name();
    pd::unique_fd fd(::openat(directory, random.c_str(),
                              O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    if (fd) name.emplace(directory, random);
    if (fd || errno != EEXIST) return fd;
  }
  return {};
}

}  // namespace era
