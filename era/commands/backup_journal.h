// SPDX-License-Identifier: GPL-3.0-or-later
// The file FILE.live beside a state: it is locked while a backup with the state is at work, and
// names the live device that the next one has to look after if the backup does not finish.
#pragma once

#include <string>

#include "persistent-data/io/unique_fd.h"

namespace era {

struct journal_entry {
  std::string device;  // as in dmsetup; empty: there is nothing to look after
  // Else the device may only be suspended: a metadata snapshot of it is somebody else's.
  bool may_hold_snapshot = true;
};

// For one thread. Throws device_error: the message names the file, and what to do.
class backup_journal {
 public:
  // Opens the file, or makes it with the owner and mode of the state, and locks it until the end.
  // The state may be a link, or not there yet. If no file can be made beside the state, the
  // directory is locked instead; a file system without locks keeps nobody out. Throws if another
  // backup with this state is at work, or if the file is no journal.
  explicit backup_journal(const std::string& state);

  static std::string path_for(const std::string& state);
  const std::string& path() const noexcept { return path_; }

  // The last entry.
  journal_entry read() const;
  // The entry is on disk then. Throws if there is no journal that may be written, or no lock; the
  // journal is empty then if that is possible.
  void write(const journal_entry&);

 private:
  std::string path_;
  persistent_data::unique_fd fd_;
  int cannot_write_ = 0;  // an errno
};

}  // namespace era
