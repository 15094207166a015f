// SPDX-License-Identifier: GPL-3.0-or-later
// The user's command that takes a snapshot of the data while the era device is suspended.
//
//   snapshot_command(...)   the process is there, and waits
//   run(...)                it is the command, until the command ends or is ended
//   output()                how it ended, and what it printed
//
// Between the first and the last nothing that is done here reads or writes a file: it could wait
// for the suspended device.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "era/backup/child_process.h"
#include "persistent-data/io/unique_fd.h"

namespace era {

struct snapshot_command_options {
  // For /bin/sh -c. If it reads the suspended device, as LVM does that looks at all block devices,
  // it waits until its time is over.
  std::string shell;
  // Above 0. A command that takes longer gets SIGTERM, and after `grace` SIGKILL, with all
  // processes of its session that did not leave its process group.
  std::chrono::milliseconds time_limit = std::chrono::minutes(1);
  std::chrono::milliseconds grace = std::chrono::seconds(5);
};

// Waits until the descriptor can be read. It may throw, which ends what is waited for.
using wait_function = std::function<void(int fd)>;

// For one thread, as long as the program has no other.
class snapshot_command {
 public:
  // Makes the process. It has a session of its own without a terminal, all signals as at the start
  // of a program, standard input from /dev/null, no other descriptors (from Linux 5.11 on), and
  // the environment with these variables. Throws device_error.
  snapshot_command(snapshot_command_options,
                   const std::vector<std::pair<std::string, std::string>>& variables);
  // Ends the command if it is still running, and waits for it.
  ~snapshot_command();
  snapshot_command(const snapshot_command&) = delete;
  snapshot_command& operator=(const snapshot_command&) = delete;

  // Returns when the command has ended, or was ended by the time limit. If wait_for throws, ends
  // the command and throws the same. A process that not even SIGKILL ends within `grace`, since it
  // waits for the suspended device, is left to the destructor. Throws device_error if there is no
  // timer for it. Call it once.
  void run(const wait_function& wait_for);

  // After run(), when the device is resumed. Returns the last 64 KiB of what the command wrote to
  // standard output and standard error. Throws device_error if the command failed: the message
  // names the command, how it ended, and its last lines.
  std::string output();

 private:
  void terminate() noexcept;
  std::string read_output() const;

  snapshot_command_options options_;
  persistent_data::unique_fd output_;
  std::optional<child_process> process_;
  bool timed_out_ = false, is_running_ = false;
};

}  // namespace era
