// SPDX-License-Identifier: GPL-3.0-or-later
// Where a command's result goes: standard output, or a file that appears whole or not at all.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace era {

// The reader of standard output has gone: nothing needs to be said.
class closed_pipe : public std::exception {};

class output_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class output {
 public:
  // path: empty or "-" for standard output. A regular file, or one that is not there yet, is
  // written under a temporary name in the same directory and takes its name in commit(): an earlier
  // file stays until then. Anything else (a device, a pipe) is written directly. Throws
  // output_error.
  explicit output(const std::string& path);

  // What was not committed goes away; so it does when a signal ends the program.
  ~output();
  output(const output&) = delete;
  output& operator=(const output&) = delete;

  // Throws output_error, or closed_pipe.
  void write(std::string_view);
  // Everything is on disk, under its name. Throws output_error.
  void commit();

 private:
  void create_beside(const std::string& target, unsigned mode);
  [[noreturn]] void fail(int error) const;

  std::string name_;  // for messages
  std::string path_, temporary_;
  int fd_ = 1;
};

}  // namespace era
