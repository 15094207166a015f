// SPDX-License-Identifier: GPL-3.0-or-later
// The journal is on disk before the device is suspended, so that whoever comes after a kill, or
// after a power cut, knows whose the metadata snapshot is.
#include "era/commands/live_device.h"

#include <exception>

#include <fmt/format.h>

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
  if (const std::string left_at = journal_.device(); !left_at.empty()) {
    if (left_at != options.name)
      throw pd::device_error(
          fmt::format("{}: a backup of {} did not finish. Look after that device first: dmsetup "
                      "resume {}; dmsetup message {} 0 drop_metadata_snap; then remove this file",
                      journal_.path(), left_at, left_at, left_at));
    const era_device_leftovers left = device_.clean_up();
    if (left.was_suspended || left.had_metadata_snapshot)
      line_.say(fmt::format("{}: the last backup did not finish: {}{}{}", options.name,
                            left.was_suspended ? "the device is resumed" : "",
                            left.was_suspended && left.had_metadata_snapshot ? ", and " : "",
                            left.had_metadata_snapshot ? "its metadata snapshot is dropped" : ""));
    journal_.note("");
  }
  try {
    journal_.note(options.name);
    const data_snapshot frozen = device_.snapshot_data(options.command, options.wait_for);
    next_era_ = frozen.next_era;
    if (!options.is_quiet && !frozen.output.empty())
      line_.say(fmt::format("the snapshot command says:\n{}", without_newline(frozen.output)));
    device_.take_metadata_snapshot();
  } catch (const still_suspended&) {
    throw;  // the next run resumes it
  } catch (...) {
    forget_journal();
    throw;
  }
  is_held_ = true;
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
  journal_.note("");
}

void live_device::forget_journal() {
  try {
    journal_.note("");
  } catch (const std::exception& e) {
    line_.say(fmt::format(
        "{}; the next backup takes this one for unfinished: it resumes {}, and drops its metadata "
        "snapshot",
        e.what(), name_));
  }
}

}  // namespace era
