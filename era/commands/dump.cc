// SPDX-License-Identifier: GPL-3.0-or-later
// era_dump: prints metadata as XML.
#include "era/commands/command_line.h"
#include "era/commands/finding_text.h"
#include "era/commands/output.h"
#include "era/commands/read_progress.h"
#include "era/commands/repair_reporter.h"
#include "era/damage/finding_groups.h"
#include "era/metadata/copy_metadata.h"
#include "era/xml/compression.h"
#include "era/xml/xml_writer.h"

namespace era {
namespace {

struct options {
  bool logical = false, compact = false, metadata_snapshot = false, repair = false;
  repair_options given;
  std::string output;
};

source source_of(const options& chosen) {
  return chosen.metadata_snapshot ? source::snapshot : source::live;
}

xml_form form_of(const options& chosen) {
  return chosen.compact ? xml_form::compact : xml_form::full;
}

int dump_salvaged(command_line& line, const options& chosen, const pd::block_device& device) {
  repair_reporter words(line, device, false);
  repair_options given = chosen.given;
  given.from = source_of(chosen);
  const salvaged saved = words.salvage(given, [] {});
  output out(chosen.output);
  xml::compressor packed(
      xml::compression_by_name(chosen.output), [&](std::string_view text) { out.write(text); },
      chosen.output);
  xml_writer writer(form_of(chosen), [&](std::string_view text) { packed.write(text); });
  words.sum_up(saved, write_document(saved, device, chosen.logical, writer, [](std::uint64_t) {}));
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  require_still_held(queue, device, saved.read_from);
  packed.finish();
  out.commit();
  return exit_success;
}

int dump(command_line& line, const options& chosen) {
  const auto access = chosen.metadata_snapshot ? pd::access::shared : pd::access::exclusive;
  pd::block_device device(line.device(), access, line.engine());
  require_other_output(device, chosen.output);

  read_progress shown(line, device,
                      {.known_total = !chosen.repair, .prints = is_standard_output(chosen.output)});
  if (chosen.repair) return dump_salvaged(line, chosen, device);
  bool damaged = false, foreign = false;
  finding_groups report([&](const finding& f) { line.say(in_words(device.path(), f)); });
  const finding_sink sink = [&](finding f) {
    damaged = true;
    foreign = foreign || is_no_metadata(f);
    report.add(std::move(f));
  };
  const auto refuse = [&] {
    report.flush();
    if (foreign) return exit_failure;
    line.say(
        fmt::format("{}: is damaged: not dumped, since a dump would lack what damage hides; "
                    "see all of it with era_check, or salvage the rest with era_dump --repair",
                    device.path()));
    return exit_failure;
  };

  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  const auto m = open_metadata(queue, device, source_of(chosen), sink);
  if (!m || damaged) return refuse();
  output out(chosen.output);
  xml::compressor packed(
      xml::compression_by_name(chosen.output), [&](std::string_view text) { out.write(text); },
      chosen.output);
  xml_writer writer(form_of(chosen), [&](std::string_view text) { packed.write(text); });
  const copy_form form = chosen.logical ? copy_form::logical : copy_form::as_it_is;
  if (!copy_metadata(*m, device, form, writer, sink)) return refuse();
  require_still_held(queue, device, *m);
  packed.finish();
  out.commit();
  return exit_success;
}

}  // namespace

int dump_command(int argc, char** argv) {
  command_line line("era_dump", "Prints dm-era metadata as XML.", "[options] {device|file}");
  options chosen;
  auto& o = line.options();
  o.add_flag("--logical", chosen.logical,
             "Fold all writesets, the current one too, into the era array");
  o.may_have_word(o.add_flag("--metadata-snapshot", chosen.metadata_snapshot,
                             "Dump the metadata snapshot; the device may be live"));
  o.add_text("-o,--output", chosen.output, "FILE",
             "Write to a file instead of standard output,\n"
             "compressed if its name ends in .gz, .xz or .zst");
  o.add_flag("--compact", chosen.compact, "Write runs of blocks instead of single ones");
  const auto repair =
      o.add_flag("-r,--repair", chosen.repair, "Dump what can be saved of damaged metadata");
  add_salvage_options(o, chosen.given, repair);
  line.add_device();
  return line.run(argc, argv, [&] { return dump(line, chosen); });
}

}  // namespace era
