// SPDX-License-Identifier: GPL-3.0-or-later
// The file that keeps the state between two backups.
#pragma once

#include <optional>
#include <string>

#include "era/backup/backup_state.h"

namespace era {

// Returns nullopt if there is no such file. Throws device_error if it cannot be read, and
// invalid_input, which names the file and what is wrong, if it is no whole state.
std::optional<backup_state> read_state(const std::string& path);

// A state will be written there: the file is a state, which may be damaged, or empty, or not there.
// Throws invalid_input if it is anything else, which would be lost, and device_error if it cannot
// be read or replaced.
void require_place_for_state(const std::string& path);

// Replaces the file as a whole (see output.h); it is on disk then. Throws device_error, or
// invalid_input if the state has a path that is no UTF-8.
void write_state(const std::string& path, const backup_state&);

// Has the file this state? Afterwards, if write_state() threw.
bool is_written(const std::string& path, const backup_state&) noexcept;

}  // namespace era
