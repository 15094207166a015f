// SPDX-License-Identifier: GPL-3.0-or-later
// A child process that is forked early and told later to begin, and a socket between the two. Each
// end reads the end of file as soon as the other process has ended.
#pragma once

#include <sys/types.h>

#include <functional>

#include "persistent-data/io/unique_fd.h"

namespace era {

class child_process {
 public:
  // Forks, and returns when the child has called say_ready. The child ends with the result of
  // `body`, which gets the child's end of the socket and must not throw. Throws device_error if
  // there can be no process, or if the child ends before it is ready; `name` is for that message.
  // The child has all descriptors of the parent. Requires a process with one thread, unless `body`
  // calls only what is safe in a signal handler.
  child_process(const char* name, const std::function<int(int socket)>& body);
  // Closes the socket, and waits until the child has ended.
  ~child_process();
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;

  // For the child. Returns false if the parent is gone.
  static bool say_ready(int socket) noexcept;

  // Returns false if the child is gone.
  bool tell(char) noexcept;
  // Waits until the child has ended. Returns its status, as waitpid does. May be called again.
  int wait() noexcept;

  pid_t pid() const noexcept { return pid_; }
  int socket() const noexcept { return socket_.get(); }
  // Can be read when the child has ended.
  int pidfd() const noexcept { return pidfd_.get(); }

 private:
  pid_t pid_ = 0;
  persistent_data::unique_fd socket_, pidfd_;
  bool has_ended_ = false;
  int status_ = 0;
};

}  // namespace era
