// SPDX-License-Identifier: GPL-3.0-or-later
// Runs the check and the dump in this process, and measures what they take. For one source of a
// program only, as memory_meter.h is.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>

#include "era/check/check.h"
#include "era/check/sound_metadata.h"
#include "era/damage/finding.h"
#include "era/metadata/metadata.h"
#include "era/testing/round_trip.h"
#include "functional-tests/memory_meter.h"

extern "C" void __sanitizer_set_death_callback(void (*)()) __attribute__((weak));

namespace sweep {

namespace pd = persistent_data;

// The case under way, for whoever finds the program dead.
inline char current_case[512];

inline void name_case(const std::string& text) {
  std::snprintf(current_case, sizeof current_case, "%s", text.c_str());
}

inline void tell_case() {
  constexpr char intro[] = "\nthe case under way was: ";
  if (::write(STDERR_FILENO, intro, sizeof intro - 1) < 0) return;
  if (::write(STDERR_FILENO, current_case, std::strlen(current_case)) < 0) return;
  if (::write(STDERR_FILENO, "\n", 1) < 0) return;
}

inline void tell_case_on_death() {
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(tell_case);
  const auto last_words = [](int signal) {
    tell_case();
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  };
  for (const int signal : {SIGABRT, SIGTERM}) std::signal(signal, last_words);
  if (!__sanitizer_set_death_callback)
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, last_words);
}

// Returns the bytes that this process has read so far, by read calls of any kind; 0 if the system
// does not count them.
inline std::uint64_t bytes_read() {
  static const int fd = ::open("/proc/self/io", O_RDONLY | O_CLOEXEC);
  char text[64] = {};
  if (fd < 0 || ::pread(fd, text, sizeof text - 1, 0) <= 0) return 0;
  unsigned long long bytes = 0;
  return std::sscanf(text, "rchar: %llu", &bytes) == 1 ? bytes : 0;
}

struct cost {
  std::size_t memory = 0;     // at the peak
  std::uint64_t reading = 0;  // bytes
};

template <class Work>
cost measure(Work work) {
  const std::uint64_t read_before = bytes_read();
  const std::size_t started = memory_meter::start();
  work();
  return {memory_meter::peak_since(started), bytes_read() - read_before};
}

inline void check(const std::string& path, era::source from, const era::finding_sink& sink) {
  const pd::block_device device(path, pd::access::shared);
  era::check_metadata(device, {from, false}, sink);
}

// Does the dump refuse? As era_dump does: at the first finding.
inline bool dump_refuses(const std::string& path, era::source from,
                         const era::test::dump_options& options) {
  const pd::block_device device(path, pd::access::shared);
  bool damaged = false;
  const era::finding_sink sink = [&](const era::finding&) { damaged = true; };
  const auto m = era::map_sound_metadata(device, from, sink);
  if (!m) return true;
  const bool whole = era::test::dump_metadata(
      *m, device, options, [](std::string_view) {}, sink);
  return !whole || damaged;
}

// Does it say that something of the trees or arrays is unknown?
inline bool hides_something(const era::finding& f) {
  return !f.hidden.empty() && f.where.what != era::part::space_map &&
         f.where.what != era::part::reference_counts;
}

}  // namespace sweep
