// SPDX-License-Identifier: GPL-3.0-or-later
// Shared by era_restore and era_repair: builds metadata on an output. If that fails, a message says
// what is left there.
#pragma once

#include <functional>
#include <string>

#include "era/commands/command_line.h"
#include "era/commands/progress.h"
#include "era/metadata/metadata_builder.h"
#include "persistent-data/io/progress_function.h"

namespace era {

// build(metadata_builder&) is to commit. on_progress: as the metadata_builder's. Returns the exit
// status; exceptions become messages.
int build_metadata(const command_line&, const std::string& output, progress&,
                   const pd::progress_function& on_progress,
                   const std::function<void(metadata_builder&)>& build);

}  // namespace era
