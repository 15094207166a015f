// SPDX-License-Identifier: GPL-3.0-or-later
// Runs another program to its end.
#pragma once

#include <string>
#include <vector>

namespace era {

// Runs arguments[0], found by PATH, without a shell and without standard input. Returns what it
// wrote to standard output. Throws device_error if it cannot be run, which names the Debian
// package, or if it does not end with status 0: then with what it wrote to standard error. Signals
// that would end this process (SIGINT, SIGTERM, SIGHUP) wait for it.
std::string run_program(const std::vector<std::string>& arguments, const std::string& package);

}  // namespace era
