// SPDX-License-Identifier: GPL-3.0-or-later
// era_repair: writes repaired metadata to another device.
#include <cassert>

#include "era/commands/building.h"
#include "era/commands/command_line.h"
#include "era/commands/interruption.h"
#include "era/commands/progress.h"
#include "era/commands/read_progress.h"
#include "era/commands/repair_reporter.h"
#include "era/metadata/copy_metadata.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

struct options {
  std::string input, output;
  repair_options given;
  bool quiet = false;
};

int repair(command_line& line, const options& chosen) {
  const interruption signals;
  pd::block_device device(chosen.input, pd::access::reading, line.engine());
  if (device.overlaps(chosen.output))
    throw pd::device_error(fmt::format(
        "{}: is the damaged metadata itself, which is never written to; name another output",
        chosen.output));
  const auto check_signals = [&] { signals.check(); };
  read_progress reading(line, device, {.is_quiet = chosen.quiet, .known_total = false});
  repair_reporter reporter(line, device, chosen.quiet);
  const metadata saved = reporter.salvage(chosen.given, check_signals);
  reading.finish();

  progress shown(line.name(), copied_bytes(saved, copy_form::as_it_is),
                 chosen.quiet ? progress::sink() : progress_on_terminal());
  std::optional<std::uint64_t> counted;
  const auto build = [&](metadata_builder& builder) {
    const auto on_progress = [&](std::uint64_t done) {
      signals.check();
      shown.update(done);
    };
    const copy_result copied =
        copy_metadata(saved, device, builder, ignore_findings,
                      {.losses = loss_policy::assume_written, .on_progress = on_progress});
    assert(copied.is_complete);  // what is lost is assumed
    counted = copied.assumed;
    builder.commit();
  };
  const int status = build_metadata(line, chosen.output, shown, check_signals, build);
  if (status == exit_success) reporter.sum_up(saved, counted);
  return status;
}

}  // namespace

int repair_command(int argc, char** argv) {
  command_line line("era_repair", "Writes repaired dm-era metadata to another device.",
                    "[options] -i {device|file} -o {device|file}");
  options chosen;
  auto& o = line.options();
  o.require(o.add_text("-i,--input", chosen.input, "{device|file}",
                       "The damaged metadata; it is only read"));
  o.require(o.add_text("-o,--output", chosen.output, "{device|file}",
                       "Another device, or an existing file"));
  o.add_flag("-q,--quiet", chosen.quiet, "Show no progress and no report");
  add_salvage_options(o, chosen.given);
  line.add_io_engine();
  return line.run(argc, argv, [&] { return repair(line, chosen); });
}

}  // namespace era
