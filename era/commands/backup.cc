// SPDX-License-Identifier: GPL-3.0-or-later
// era_backup: copies the blocks that were written since an era into a backup.
#include <chrono>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "era/commands/backup_journal.h"
#include "era/commands/backup_places.h"
#include "era/commands/backup_run.h"
#include "era/commands/command_line.h"
#include "era/commands/interruption.h"
#include "era/commands/live_device.h"
#include "era/commands/metadata_source.h"
#include "era/commands/repair_reporter.h"
#include "era/commands/state_file.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

struct live_options {
  std::string device, snapshot_command;     // empty: not given
  std::optional<std::uint32_t> time_limit;  // seconds
};

// The whole night: the device is suspended while the command takes a snapshot of its data, and its
// metadata snapshot is held until it was read.
int back_up_live_device(command_line& line, const live_options& live, backup_options chosen,
                        backup_journal& journal) {
  const interruption signals;
  live_device device(line,
                     {.name = live.device,
                      .command = {.shell = live.snapshot_command,
                                  .time_limit = std::chrono::seconds(live.time_limit.value_or(60))},
                      .wait_for = [&](int fd) { signals.wait_for(fd); },
                      .is_quiet = chosen.quiet},
                     journal);
  chosen.metadata = device.metadata();
  chosen.from = source::snapshot;
  chosen.next_era = device.next_era().value;
  return run_backup(
      line, chosen,
      {.metadata_was_read = [&] { device.release(); }, .check_signals = [&] { signals.check(); }});
}

void check(const live_options& live, const backup_options& chosen) {
  if (chosen.metadata.empty() && live.device.empty())
    throw pd::usage_error(
        "no metadata was named: --metadata, or --era-device for a device that is in use");
  if (chosen.target == "-")
    throw pd::usage_error(
        "-: a backup is written in any order, and not to a pipe; a file of that name is ./-");
  if (chosen.state == "-")
    throw pd::usage_error("--state -: a state is kept in a file; a file of that name is ./-");
  if (!live.device.empty() && chosen.state.empty())
    throw pd::usage_error("--era-device needs --state: it remembers what a killed backup leaves");
  if (live.device.empty() != live.snapshot_command.empty())
    throw pd::usage_error(
        "--era-device and --snapshot-command need each other: the data is copied from a snapshot");
  const int given = (chosen.written_since ? 1 : 0) + (chosen.full ? 1 : 0);
  if (given == 0 && chosen.state.empty())
    throw pd::usage_error("nothing says since when: --written-since ERA, --full, or --state FILE");
  if (!chosen.bitmap.empty() && chosen.chosen_format == image_format::raw)
    throw pd::usage_error("--format raw cannot be: only a qcow2 image has bitmaps");
  if (!chosen.backing.empty() && !chosen.is_new_image())
    throw pd::usage_error("--backing has no effect without --format qcow2");
  if (!chosen.backing.empty() && chosen.written_since == 0u)
    throw pd::usage_error("--backing has no effect with --written-since 0: all blocks are copied");
  if (chosen.is_nbd() && chosen.is_new_image())
    throw pd::usage_error(
        "an NBD server exports a plain image: --format qcow2 cannot be written to it");
  if (chosen.is_new_image() && chosen.bitmap.empty() && chosen.written_since.value_or(0) != 0 &&
      chosen.backing.empty())
    throw pd::usage_error(
        "changed blocks alone make no image: --backing names the one that they belong to");
  if (chosen.is_nbd() && !chosen.state.empty() && has_relative_socket(chosen.target))
    throw pd::usage_error(fmt::format(
        "{}: leads to another server in another directory, and --state remembers it: give the "
        "full path of the socket",
        chosen.target));
  if (chosen.from == source::snapshot && !chosen.state.empty() && !chosen.next_era)
    throw pd::usage_error(
        "--state with --metadata-snapshot needs --next-era: the era that the status showed before "
        "the data's snapshot, plus one");
}

void add_options(option_list& o, live_options& live, backup_options& chosen) {
  constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
  const auto metadata =
      o.add_text("--metadata", chosen.metadata, "{device|file}", "The metadata of dm-era");
  o.require(o.add_text("--source", chosen.source, "{device|file}",
                       "The data: the origin, not in use, or a snapshot of it"));
  const auto state =
      o.add_text("--state", chosen.state, "FILE",
                 "Continue the backup that FILE describes, and describe the new one there");
  const auto since = o.add_number("--written-since", chosen.written_since, {0, most}, "ERA",
                                  "Copy blocks that were written in this era or a later one");
  const auto full = o.add_flag("--full", chosen.full, "Copy all blocks");
  o.not_with(since, state);
  o.not_with(since, full);
  const auto snapshot =
      add_metadata_snapshot(o, chosen.from, "Ask the metadata snapshot; the device may be live");
  const auto next = o.add_number("--next-era", chosen.next_era, {1, most}, "ERA",
                                 "The era that began after the source's data was frozen");
  const auto device = o.add_text("--era-device", live.device, "NAME",
                                 "Suspend this device, and take its snapshots; instead of\n"
                                 "--metadata, --metadata-snapshot and --next-era");
  o.add_text("--snapshot-command", live.snapshot_command, "COMMAND",
             "Takes the snapshot of the data, for --source, while the\ndevice is suspended");
  o.only_with(o.add_number("--time-limit", live.time_limit, {1, 86400}, "SECONDS",
                           "End that command after this time (default: 60)"),
              device);
  for (const auto other : {metadata, snapshot, next}) o.not_with(device, other);
  const auto repair = o.add_flag("--repair", chosen.repair,
                                 "Copy blocks that damage hides, too, instead of nothing");
  const std::vector<std::pair<std::string, std::optional<image_format>>> formats{
      {"raw", image_format::raw}, {"qcow2", image_format::qcow2}};
  o.add_choice("--format", chosen.chosen_format, formats,
               "The format of the target (default: qcow2 if its name ends so, or raw)");
  const auto backing =
      o.add_text("--backing", chosen.backing, "FILE",
                 "The image that a new one continues (default: the last one of the state)");
  const auto backing_format =
      o.add_choice("--backing-format", chosen.backing_format, formats,
                   "The format of that image (default: qcow2 if its name ends so, or raw)");
  const auto bitmap =
      o.add_text("--bitmap", chosen.bitmap, "NAME",
                 "Copy nothing; make an image of the source whose dirty bitmap\nNAME "
                 "has the changed blocks, for other backup programs");
  for (const auto other : {state, backing, device}) o.not_with(bitmap, other);
  o.not_with(full, backing);
  o.only_with(backing_format, backing);
  const auto keep_going =
      o.add_flag("--keep-going", chosen.keep_going, "Go on after blocks that cannot be read");
  const auto verify =
      o.add_flag("--verify", chosen.verify, "Read the copied blocks back, and compare them");
  for (const auto other : {keep_going, verify}) o.not_with(bitmap, other);
  o.add_flag("--json", chosen.json, "Print a summary as JSON");
  o.add_flag("-q,--quiet", chosen.quiet, "Print errors only");
  add_salvage_options(o, chosen.given, repair);
}

}  // namespace

int backup_command(int argc, char** argv) {
  command_line line(
      "era_backup", "Copies the blocks that were written since an era into a backup.",
      "[options] {--metadata {device|file} | --era-device NAME} --source {device|file} "
      "TARGET");
  live_options live;
  backup_options chosen;
  add_options(line.options(), live, chosen);
  line.add_argument("no target was named; it takes a file, a block device, or an NBD URI");
  return line.run(argc, argv, [&] {
    chosen.target = line.argument();
    check(live, chosen);
    std::optional<backup_journal> journal;
    if (!chosen.state.empty()) {
      require_separate_state(chosen);
      // If it is wrong, no journal is made, and nothing is suspended.
      require_place_for_state(chosen.state);
      if (!chosen.full) read_state(chosen.state);
      journal.emplace(chosen.state);
    }
    if (!live.device.empty()) return back_up_live_device(line, live, chosen, *journal);
    return run_backup(line, chosen, {});
  });
}

}  // namespace era
