// SPDX-License-Identifier: GPL-3.0-or-later
// Shared by the commands that act on changed blocks: the list of them, or the reason why there is
// none.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "era/commands/command_line.h"
#include "era/metadata/list_blocks.h"
#include "era/metadata/metadata.h"
#include "era/repair/repair_options.h"
#include "persistent-data/io/block_device.h"

namespace era {

struct list_changes_options {
  era_window window;
  source from = source::live;
  bool repair = false;  // blocks that damage hides are listed, too
  repair_options given;
  // In the message about blocks in doubt: "12 of the 34 blocks listed are there only because ...".
  std::string_view in_doubt = "blocks listed are there";
  // Told the current era before blocks are listed; may throw, which ends it.
  std::function<void(era_nr)> opened = [](era_nr) {};
};

struct changes {
  metadata opened;
  change_list listed;
};

// Lists the blocks of the window, with progress on a terminal. Says what damage there is. Returns
// nullopt if damage hides blocks, which it has said then, and it was not asked to repair. Throws
// invalid_input if the window begins with an era that cannot have begun yet.
std::optional<changes> list_changes(command_line&, pd::block_device&, const list_changes_options&);

}  // namespace era
