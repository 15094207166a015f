// SPDX-License-Identifier: GPL-3.0-or-later
// For tests of the commands: runs one of them in this process.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

namespace era::test {

struct command_result {
  int status = 0;
  std::string out, err;
};

// Takes back what a command did to the signals that end it.
class kept_signals {
 public:
  kept_signals() {
    for (std::size_t i = 0; i < all.size(); ++i) ::sigaction(all[i], nullptr, &before_[i]);
  }
  ~kept_signals() {
    for (std::size_t i = 0; i < all.size(); ++i) ::sigaction(all[i], &before_[i], nullptr);
  }
  kept_signals(const kept_signals&) = delete;
  kept_signals& operator=(const kept_signals&) = delete;

 private:
  static constexpr std::array all{SIGINT, SIGTERM, SIGHUP, SIGPIPE};
  std::array<struct sigaction, all.size()> before_;
};

// Calls the command, or any other function of its kind, with its name and the arguments.
template <class Command>
command_result run_command(Command command, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "command");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const kept_signals signals;
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  command_result result;
  result.status = command(static_cast<int>(arguments.size()), argv.data());
  result.out = ::testing::internal::GetCapturedStdout();
  result.err = ::testing::internal::GetCapturedStderr();
  return result;
}

}  // namespace era::test
