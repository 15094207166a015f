// SPDX-License-Identifier: GPL-3.0-or-later
// The journal is on disk before the device is suspended, so that whoever comes after a kill, or
// after a power cut, knows whose the metadata snapshot is.
#include "era/commands/live_device.h"

#include <exception>

#include <fmt/format.h>

#include "era/text/printable.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

std::string without_newline(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace

live_device::live_device(const command_line& line, const live_device_options& options,
                         backup_journal& journal, device_mapper& mapper)
    : line_(line), name_(options.name), journal_(journal), device_(options.name, mapper) {
  clean_up_after(journal_.read());
  journal_.write({.device = name_});
  try {
    const data_snapshot frozen = device_.snapshot_data(options.command, options.wait_for);
    next_era_ = frozen.next_era;
    if (!options.is_quiet && !frozen.output.empty())
      line_.say(fmt::format("the snapshot command says:\n{}", without_newline(frozen.output)));
    device_.take_metadata_snapshot();
  } catch (const still_suspended&) {
    note_after_failure({.device = name_, .may_hold_snapshot = false});
    throw;
  } catch (...) {
    note_after_failure({});
    throw;
  }
  is_held_ = true;
}

void live_device::clean_up_after(const journal_entry& last) {
  if (last.device.empty()) return;
  if (last.device != name_) {
    const std::string device = printable(last.device, last.device.size());
    throw pd::device_error(
        fmt::format("{}: a backup of {} did not finish. Look after that device first: dmsetup "
                    "resume {}; dmsetup message {} 0 drop_metadata_snap; then empty this file",
                    journal_.path(), device, device, device));
  }
  era_device_leftovers left;
  if (last.may_hold_snapshot)
    left = device_.clean_up();
  else
    left.was_suspended = device_.end_suspension();
  if (left.was_suspended || left.had_metadata_snapshot)
    line_.say(fmt::format("{}: the last backup did not finish: {}{}{}", name_,
                          left.was_suspended ? "the device is resumed" : "",
                          left.was_suspended && left.had_metadata_snapshot ? ", and " : "",
                          left.had_metadata_snapshot ? "its metadata snapshot is dropped" : ""));
  journal_.write({});
}

live_device::~live_device() {
  try {
    release();
  } catch (const std::exception& e) {
    line_.say(
        fmt::format("{}: the metadata snapshot is still held, and the next backup drops it: {}",
                    name_, e.what()));
  }
}

void live_device::release() {
  if (!is_held_) return;
  is_held_ = false;
  device_.drop_metadata_snapshot();
  journal_.write({});
}

void live_device::note_after_failure(const journal_entry& entry) noexcept try {
  journal_.write(entry);
} catch (const std::exception& e) {
  line_.say(fmt::format(
      "{}; the next backup may take this one for unfinished, resume {}, and drop its metadata "
      "snapshot",
      e.what(), name_));
}

}  // namespace era
