// SPDX-License-Identifier: GPL-3.0-or-later
// A live era device for the time of a backup: its data was frozen, and its metadata snapshot is
// held.
#pragma once

#include <string>

#include "era/backup/era_device.h"
#include "era/commands/backup_journal.h"
#include "era/commands/command_line.h"

namespace era {

struct live_device_options {
  std::string name;  // as in dmsetup
  snapshot_command_options command;
  wait_function wait_for;
  bool is_quiet = false;  // the output of a command that ends well is not shown
};

// The journal has the name of the device from before the suspend until the metadata snapshot is
// dropped. If it has one at the beginning, the run before did not finish, and its leftovers are
// removed, with a message; if it names another device, that is an error.
class live_device {
 public:
  // Suspends the device, runs the command, resumes the device, and takes a metadata snapshot.
  // Throws device_error, or what wait_for throws: then the device is resumed, and there is no
  // snapshot. If it cannot be resumed, throws still_suspended, and the next run tries it again.
  // The journal, and the device mapper, must live as long as this.
  live_device(const command_line&, const live_device_options&, backup_journal&,
              device_mapper& = device_mapper::real());
  // As release(), but with a message if the metadata snapshot cannot be dropped.
  ~live_device();
  live_device(const live_device&) = delete;
  live_device& operator=(const live_device&) = delete;

  const std::string& metadata() const noexcept { return device_.metadata(); }
  era_nr next_era() const noexcept { return next_era_; }

  // Drops the metadata snapshot: all that is needed of it has been read.
  void release();

 private:
  void clean_up_after(const journal_entry& last);
  // Says so if it cannot be done: the failure that came first is the one that counts.
  void note_after_failure(const journal_entry&) noexcept;

  const command_line& line_;
  const std::string name_;
  backup_journal& journal_;
  era_device device_;
  era_nr next_era_{};
  bool is_held_ = false;
};

}  // namespace era
