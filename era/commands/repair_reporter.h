// SPDX-License-Identifier: GPL-3.0-or-later
// Shared by the commands that salvage: the options by which the user helps, and the report of what
// was lost and what was assumed.
#pragma once

#include <optional>
#include <string>

#include "era/commands/command_line.h"
#include "era/damage/finding_groups.h"
#include "era/repair/salvage.h"
#include "persistent-data/io/progress_function.h"

namespace era {

// repair: the option without which these have no effect, if the command has one.
void add_salvage_options(option_list&, repair_options&,
                         std::optional<option_list::option_id> repair = {});

class repair_reporter {
 public:
  // is_quiet: nothing is said.
  repair_reporter(const command_line&, const pd::block_device&, bool is_quiet = false);

  // As salvage_metadata; says what it reports.
  metadata salvage(const repair_options&, const pd::progress_function& on_progress);
  // Was damage reported, or an assumption?
  bool anything() const noexcept { return anything_; }
  // Says what the output lacks, and how much had to be assumed, which it counts if the caller did
  // not.
  void sum_up(const metadata&, std::optional<std::uint64_t> counted) const;

 private:
  void say(const std::string& text) const;

  const command_line& line_;
  const pd::block_device& device_;
  bool is_quiet_, anything_ = false;
  finding_groups groups_;
  repair_report report_;
};

}  // namespace era
