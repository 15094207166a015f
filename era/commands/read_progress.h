// SPDX-License-Identifier: GPL-3.0-or-later
// How far a command is that reads all metadata of a device: by the bytes that it has read.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "era/commands/command_line.h"
#include "era/commands/progress.h"
#include "persistent-data/io/block_device.h"

namespace era {

struct read_progress_options {
  bool is_quiet = false;
  // Everything in use is read once; if not, only the bytes read so far can be shown.
  bool known_total = true;
  // The command prints to standard output while it reads.
  bool prints = false;
};

// Shows nothing unless standard error is a terminal, nor if the command prints to a terminal
// meanwhile.
class read_progress {
 public:
  // From now on, what is read from the device counts.
  read_progress(command_line&, persistent_data::block_device&, const read_progress_options&);
  ~read_progress() { finish(); }
  read_progress(const read_progress&) = delete;
  read_progress& operator=(const read_progress&) = delete;

  // Nothing is shown any more.
  void finish();

 private:
  command_line& line_;
  persistent_data::block_device& device_;
  std::atomic<std::uint64_t> done_ = 0;
  std::optional<progress> shown_;
};

}  // namespace era
