// SPDX-License-Identifier: GPL-3.0-or-later
// Shared by the commands that read either the live metadata or its metadata snapshot: the option,
// and how the device is opened for it.
#pragma once

#include <string_view>

#include "era/commands/options.h"
#include "era/metadata/metadata.h"
#include "persistent-data/io/block_device.h"

namespace era {

// Adds the flag --metadata-snapshot, which sets `from`. `from` must outlive the parsing.
option_list::option_id add_metadata_snapshot(option_list&, source& from, std::string_view help);

// Returns the access that reading from there needs: reading for live metadata, shared for a
// metadata snapshot.
pd::access access_to(source from) noexcept;

}  // namespace era
