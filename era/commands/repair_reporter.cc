// SPDX-License-Identifier: GPL-3.0-or-later
// Prints findings as groups, and an assumption after the findings that came before it. The summary
// comes last.
#include "era/commands/repair_reporter.h"

#include <utility>

#include "era/commands/finding_text.h"
#include "era/metadata/list_blocks.h"

namespace era {

void add_salvage_options(option_list& options, repair_options& given,
                         std::optional<option_list::option_id> repair) {
  const auto block_size =
      options.add_number("--block-size", given.block_size, {8, 0xffffffff, 8}, "SECTORS",
                         "Sectors of an origin block, if the superblock is lost");
  const auto nr_blocks = options.add_number("--nr-blocks", given.nr_blocks, {1, max_origin_blocks},
                                            "N", "Blocks of the origin, if that is lost");
  const auto current_era =
      options.add_number("--current-era", given.current_era, {0, max_current_era}, "ERA",
                         "The current era, if it is newer than what is found");
  if (repair)
    for (const auto id : {block_size, nr_blocks, current_era}) options.only_with(id, *repair);
}

repair_reporter::repair_reporter(const command_line& line, const pd::block_device& device,
                                 bool is_quiet)
    : line_(line), device_(device), is_quiet_(is_quiet), groups_([this](const finding& f) {
        if (!is_quiet_) line_.say_in_bulk(in_words(device_.path(), f));
      }) {
  report_.damage = [this](finding f) {
    anything_ = true;
    groups_.add(std::move(f));
  };
  report_.assumption = [this](const std::string& text) {
    anything_ = true;
    groups_.flush();
    say("assumed: " + text);
  };
}

void repair_reporter::say(const std::string& text) const {
  if (!is_quiet_) line_.say(fmt::format("{}: {}", device_.path(), text));
}

metadata repair_reporter::salvage(const repair_options& given,
                                  const pd::progress_function& on_progress) {
  try {
    metadata saved = salvage_metadata(device_, given, report_, on_progress);
    groups_.flush();
    return saved;
  } catch (const std::exception&) {
    groups_.flush();
    throw;
  }
}

void repair_reporter::sum_up(const metadata& m, std::optional<std::uint64_t> counted) const {
  if (is_quiet_) return;
  if (m.current_era.value >= max_current_era)
    say(fmt::format(
        "era {} is the last one that there can be: the device cannot go on with this, and needs "
        "new metadata; all blocks then count as changed",
        m.current_era));
  if (m.lost.snapshot)
    say("assumed: the metadata snapshot is left out");
  else if (!anything_)
    return say("nothing is wrong, and nothing had to be assumed");
  const std::uint64_t assumed = counted ? *counted : count_assumed(m, device_);
  if (assumed == 0) return say("the era of every origin block is known");
  say(
      fmt::format("{} of {} origin blocks are marked as written only because it is unknown when "
                  "they were",
                  assumed, m.nr_blocks));
}

}  // namespace era
