// SPDX-License-Identifier: GPL-3.0-or-later
// Tells what the state of the last backup says, and whether this backup may continue it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "era/backup/backup_state.h"
#include "era/backup/data_device.h"
#include "era/backup/qcow2_image.h"
#include "era/commands/backup_run.h"
#include "era/metadata/metadata.h"
#include "persistent-data/io/block_device.h"

namespace era {

// Borrows the options. Its functions throw invalid_input, or device_error, if the parts do not go
// together, and say what does.
class backup_chain {
 public:
  // Reads the state, if one is named and not everything is copied anyway. Throws invalid_input,
  // device_error.
  explicit backup_chain(const backup_options&);
  backup_chain(const backup_chain&) = delete;
  backup_chain& operator=(const backup_chain&) = delete;

  // Returns true if there is a state, perhaps of a backup that was not finished.
  bool has_state() const noexcept { return earlier_.has_value(); }
  // The backup that this one continues; nullptr if it begins anew.
  const backup_state* base() const noexcept { return base_; }
  // Blocks written in this era, or later ones, are copied; 0: all blocks.
  std::uint32_t since() const;
  // As the state names the target.
  std::string target() const;
  // The image that a new one continues, if it does not hold all blocks itself.
  std::optional<backing_image> backing() const;

  // Requires that a plain target is the last backup's, and no image of another format, and that a
  // new image is not the last backup. Comes before the target is opened.
  void require_target() const;
  // Requires that the eras go on.
  void require_later_era(era_nr current, const pd::block_device&) const;
  // Requires that the metadata is about the source, and is what the last backup saw, some eras
  // later.
  void require_metadata(const metadata&, const pd::block_device&, const data_device& source) const;

  // The era to ask for next time: the first one that this backup may lack blocks of; nullopt if
  // nobody knows. If damage hides the current era, it may be the oldest that is possible.
  std::optional<std::uint32_t> next_era(const metadata&, const pd::block_device&) const;

  // Makes the state say that a full backup of its target was not finished, if it describes that
  // target: should the state not be replaced in the end, the next run must not copy changed blocks
  // alone. Comes before the first write. next: the state of this backup. Throws device_error.
  void give_up(backup_state next) const;

 private:
  void require_same_target() const;
  bool is_plain_backup(const std::string& path) const;
  void require_plain_image() const;
  void require_new_image() const;
  void require_same_size(const metadata&, const pd::block_device&, const data_device&) const;
  void require_same_history(const metadata&, const pd::block_device&, const data_device&) const;
  [[noreturn]] void fail_state(const pd::block_device&, const std::string& why) const;

  const backup_options& chosen_;
  const std::optional<backup_state> earlier_;
  const backup_state* base_ = nullptr;
};

}  // namespace era
