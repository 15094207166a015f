// SPDX-License-Identifier: GPL-3.0-or-later
// The file FILE.live beside a state: it is locked while a backup with the state is at work, and
// names the live device that the backup would have to clean up if it was killed.
#pragma once

#include <string>

#include "persistent-data/io/unique_fd.h"

namespace era {

// For one thread. Throws device_error: the message names the file, and what to do.
class backup_journal {
 public:
  // Opens the file, or makes it, and locks it until the end. The state may be a link, or not there
  // yet. If no file can be made beside the state, the state itself is locked, and there is no
  // journal. Throws if another backup with this state is at work.
  explicit backup_journal(const std::string& state);

  static std::string path_for(const std::string& state);

  const std::string& path() const noexcept { return path_; }

  // As it was noted last; empty: none.
  std::string device() const;
  // It is on disk then. Throws, too, if there is no journal.
  void note(const std::string& device);

 private:
  std::string path_;
  persistent_data::unique_fd fd_;
  int error_ = 0;  // the errno that keeps a journal from being there
};

}  // namespace era
