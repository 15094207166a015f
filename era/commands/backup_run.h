// SPDX-License-Identifier: GPL-3.0-or-later
// One backup, from options that go together to its exit status.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "era/backup/nbd_target.h"
#include "era/backup/qcow2_image.h"
#include "era/commands/command_line.h"
#include "era/metadata/metadata.h"
#include "era/repair/repair_options.h"

namespace era {

// By the end of its name.
image_format format_by_name(const std::string& path);

struct backup_options {
  std::string metadata, source, target, state, backing, bitmap;  // empty: not given
  std::optional<image_format> chosen_format, backing_format;
  std::optional<std::uint32_t> written_since, next_era;
  era::source from = era::source::live;
  bool full = false, repair = false;
  bool verify = false, keep_going = false, json = false, quiet = false;
  repair_options given;

  bool is_nbd() const { return is_nbd_uri(target); }
  image_format format() const { return chosen_format.value_or(format_by_name(target)); }
  bool is_new_image() const { return !bitmap.empty() || format() == image_format::qcow2; }
};

// Calls into the caller on the way; both may throw, which ends the backup.
struct backup_callbacks {
  std::function<void()> metadata_was_read = [] {};
  std::function<void()> check_signals = [] {};
};

// Returns the exit status. Throws invalid_input if something does not fit together, and
// device_error; then the state is as it was, or says that a full backup has to begin again, or
// describes this backup if only a later step failed.
int run_backup(command_line&, const backup_options&, const backup_callbacks&);

}  // namespace era
