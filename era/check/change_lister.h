// SPDX-License-Identifier: GPL-3.0-or-later
// The way from a device to the list of changed blocks that may be relied on.
#pragma once

#include <optional>
#include <utility>

#include "era/damage/finding.h"
#include "era/metadata/list_blocks.h"
#include "era/metadata/metadata.h"
#include "persistent-data/io/block_device.h"

namespace era {

// Checks superblock, trees and reference counts first, then makes the list. Reports only findings
// that affect it.
class change_lister {
 public:
  // Throws device_error.
  change_lister(const pd::block_device&, source, finding_sink);

  // The metadata that is listed; nullopt if it could not be opened, or is damaged.
  const std::optional<metadata>& opened() const noexcept { return metadata_; }
  // The same, for the caller to keep. Requires a list; nothing more can be listed.
  metadata take() noexcept { return std::move(*metadata_); }

  // Returns nullopt if damage was found, now or when it was opened.
  std::optional<change_list> list(const era_window&);

 private:
  const pd::block_device& device_;
  finding_sink sink_;
  std::optional<metadata> metadata_;
};

}  // namespace era
