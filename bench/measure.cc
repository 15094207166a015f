// SPDX-License-Identifier: GPL-3.0-or-later
// measure RUNS < COMMANDS: times commands against each other. A line of COMMANDS is a name, a tab
// and a command for /bin/sh. All are run once to warm up, then RUNS times in turn, so that what
// else the machine does meets all of them. Prints for each line: name, median, fastest, slowest
// (milliseconds) and the peak of its memory (KiB), separated by tabs. A command that fails ends it
// with status 1. `measure fixed-work` is a work to compare with, on any machine and in any release.
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

namespace {

struct command {
  std::string name, line;
  std::vector<double> milliseconds;
  long peak_kib = 0;
};

[[noreturn]] void fail(const std::string& why) {
  std::cerr << "measure: " << why << '\n';
  std::exit(1);
}

// Runs it without input and output: what it says would be lost among the others'.
void run(command& c) {
  std::string line = "exec " + c.line;
  char sh[] = "sh", dash_c[] = "-c";
  char* const arguments[] = {sh, dash_c, line.data(), nullptr};
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  const auto begin = std::chrono::steady_clock::now();
  pid_t child = 0;
  if (posix_spawn(&child, "/bin/sh", &files, nullptr, arguments, environ) != 0)
    fail("cannot start /bin/sh");
  int status = 0;
  rusage usage{};
  if (wait4(child, &status, 0, &usage) != child) fail("lost a child");
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  posix_spawn_file_actions_destroy(&files);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail("this failed: " + c.line);
  c.milliseconds.push_back(took.count());
  c.peak_kib = std::max(c.peak_kib, usage.ru_maxrss);
}

// Checksums of 32 MiB, byte by byte.
void fixed_work() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    table[i] = i;
    for (int bit = 0; bit < 8; ++bit) table[i] = (table[i] & 1 ? 0x82f63b78 : 0) ^ table[i] >> 1;
  }
  std::uint32_t crc = 0;
  for (std::uint32_t i = 0; i < 32 << 20; ++i) crc = table[(crc ^ i) & 255] ^ crc >> 8;
  if (crc == 0) fail("the fixed work went wrong");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "fixed-work") {
    fixed_work();
    return 0;
  }
  const long runs = argc == 2 ? std::strtol(argv[1], nullptr, 10) : 0;
  if (runs < 1) fail("usage: measure RUNS < COMMANDS, or measure fixed-work");
  std::vector<command> commands;
  for (std::string line; std::getline(std::cin, line);) {
    const auto tab = line.find('\t');
    if (tab == line.npos) fail("a line without a tab: " + line);
    commands.push_back({line.substr(0, tab), line.substr(tab + 1), {}, 0});
  }
  for (command& c : commands) {
    run(c);
    c.milliseconds.clear();
  }
  for (long i = 0; i < runs; ++i)
    for (command& c : commands) run(c);
  for (command& c : commands) {
    std::sort(c.milliseconds.begin(), c.milliseconds.end());
    fmt::print("{}\t{:.2f}\t{:.2f}\t{:.2f}\t{}\n", c.name,
               c.milliseconds[c.milliseconds.size() / 2], c.milliseconds.front(),
               c.milliseconds.back(), c.peak_kib);
  }
}
