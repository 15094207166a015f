// SPDX-License-Identifier: GPL-3.0-or-later
// Sound metadata is checked and listed; with --repair, metadata is salvaged and listed.
#include "era/commands/list_changes.h"

#include <utility>

#include <fmt/format.h>

#include "era/check/change_lister.h"
#include "era/commands/finding_text.h"
#include "era/commands/read_progress.h"
#include "era/commands/repair_reporter.h"
#include "era/damage/finding_groups.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

// The era after the current one begins when the device is activated, and nothing was written in it
// yet. A later one was noted of other metadata. A metadata snapshot is taken when its current era
// begins: an older one that is still held has nothing of what was written since.
void require_possible_era(const std::string& path, const list_changes_options& options,
                          era_nr current) {
  const std::uint64_t since = options.window.begin;
  if (options.from == source::snapshot && since >= current.value && since > 0)
    throw pd::invalid_input(fmt::format(
        "{}: nothing is listed: the metadata snapshot was taken when era {} began, and knows "
        "nothing of era {}; if it is an old one, drop it and take a new one",
        path, current, since));
  if (since <= std::uint64_t{current.value} + 1) return;
  throw pd::invalid_input(fmt::format(
      "{}: nothing is listed: era {} cannot have begun, since the current era is {}; if the "
      "metadata was made anew after that era was noted, all blocks count as changed",
      path, since, current));
}

std::optional<changes> list_sound(const command_line& line, const pd::block_device& device,
                                  const list_changes_options& options) {
  bool foreign = false;
  finding_groups groups([&](const finding& f) {
    foreign = foreign || is_no_metadata(f);
    line.say_in_bulk(in_words(device.path(), f));
  });
  change_lister answer(device, options.from, [&](finding f) { groups.add(std::move(f)); });
  if (answer.opened()) {
    options.opened(answer.opened()->current_era);
    require_possible_era(device.path(), options, answer.opened()->current_era);
  }
  if (auto listed = answer.list(options.window)) return changes{answer.take(), std::move(*listed)};
  groups.flush();
  if (!foreign)
    line.say(
        fmt::format("{}: is damaged: nothing is listed, since blocks that damage hides would be "
                    "missing; --repair lists them as written, too",
                    device.path()));
  return {};
}

changes list_salvaged(const command_line& line, const pd::block_device& device,
                      const list_changes_options& options) {
  repair_reporter words(line, device, false);
  repair_options given = options.given;
  given.from = options.from;
  metadata saved = words.salvage(given, [] {});
  options.opened(saved.current_era);
  if (saved.lost.era_is_guess && options.window.begin > saved.current_era.value)
    throw pd::invalid_input(fmt::format(
        "{}: nothing is listed: era {} may have begun, and the newest that is found is {}; give "
        "the current era with --current-era",
        device.path(), options.window.begin, saved.current_era));
  require_possible_era(device.path(), options, saved.current_era);
  change_list listed =
      list_blocks(saved, device, options.window, loss_policy::assume_written, ignore_findings);
  if (words.anything())
    line.say(fmt::format(
        "{}: is damaged: {} of the {} {} only because it is unknown when they were written",
        device.path(), listed.in_doubt, listed.listed, options.in_doubt));
  return {std::move(saved), std::move(listed)};
}

}  // namespace

std::optional<changes> list_changes(command_line& line, pd::block_device& device,
                                    const list_changes_options& options) {
  const read_progress shown(line, device, {.known_total = !options.repair});
  if (options.repair) return list_salvaged(line, device, options);
  return list_sound(line, device, options);
}

}  // namespace era
