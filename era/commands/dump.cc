// SPDX-License-Identifier: GPL-3.0-or-later
// era_dump: prints metadata as XML.
#include <functional>

#include "era/check/sound_metadata.h"
#include "era/commands/command_line.h"
#include "era/commands/finding_text.h"
#include "era/commands/metadata_source.h"
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
  bool logical = false, compact = false, repair = false;
  source from = source::live;
  repair_options given;
  std::string output;
};

xml_form form_of(const options& chosen) {
  return chosen.compact ? xml_form::compact : xml_form::full;
}

class dump_job {
 public:
  dump_job(command_line& line, const options& chosen)
      : line_(line),
        chosen_(chosen),
        device_(line.device(), access_to(chosen.from), line.engine()),
        groups_([this](const finding& f) { line_.say(in_words(device_.path(), f)); }) {}

  int run() {
    require_other_output(device_, "the metadata", chosen_.output);
    const read_progress shown(
        line_, device_,
        {.known_total = !chosen_.repair, .prints = is_standard_output(chosen_.output)});
    return chosen_.repair ? dump_salvaged() : dump_sound();
  }

 private:
  int dump_sound() {
    const finding_sink sink = [this](finding f) {
      foreign_ = foreign_ || is_no_metadata(f);
      groups_.add(std::move(f));
    };
    const auto m = map_sound_metadata(device_, chosen_.from, sink);
    if (m && write(*m, loss_policy::refuse, sink, [](const copy_result&) {})) return exit_success;
    groups_.flush();
    if (!foreign_)
      line_.say(
          fmt::format("{}: is damaged: not dumped, since a dump would lack what damage hides; see "
                      "all of it with era_check, or salvage the rest with era_dump --repair",
                      device_.path()));
    return exit_failure;
  }

  int dump_salvaged() {
    repair_reporter reporter(line_, device_);
    repair_options given = chosen_.given;
    given.from = chosen_.from;
    const metadata saved = reporter.salvage(given, [] {});
    // The summary may read the metadata, too: it has to be held till then.
    const auto sum_up = [&](const copy_result& copied) { reporter.sum_up(saved, copied.assumed); };
    const bool is_whole = write(saved, loss_policy::assume_written, ignore_findings, sum_up);
    return is_whole ? exit_success : exit_failure;
  }

  // Returns false at damage; then nothing of the output is left. copied: called before the output
  // is whole.
  bool write(const metadata& m, loss_policy policy, const finding_sink& sink,
             const std::function<void(const copy_result&)>& copied) const {
    output out(chosen_.output);
    xml::compressor packed(
        xml::compression_by_name(chosen_.output), [&](std::string_view text) { out.write(text); },
        chosen_.output);
    xml_writer writer(form_of(chosen_), [&](std::string_view text) { packed.write(text); });
    const copy_form form = chosen_.logical ? copy_form::logical : copy_form::as_it_is;
    const copy_result result =
        copy_metadata(m, device_, writer, sink, {.form = form, .losses = policy});
    if (!result.is_complete) return false;
    copied(result);
    packed.finish();
    out.commit();
    return true;
  }

  command_line& line_;
  const options& chosen_;
  pd::block_device device_;
  bool foreign_ = false;
  finding_groups groups_;
};

}  // namespace

int dump_command(int argc, char** argv) {
  command_line line("era_dump", "Prints dm-era metadata as XML.", "[options] {device|file}");
  options chosen;
  auto& o = line.options();
  o.add_flag("--logical", chosen.logical,
             "Fold all writesets, the current one too, into the era array");
  o.may_have_word(
      add_metadata_snapshot(o, chosen.from, "Dump the metadata snapshot; the device may be live"));
  o.add_text("-o,--output", chosen.output, "FILE",
             "Write to a file instead of standard output,\n"
             "compressed if its name ends in .gz, .xz or .zst");
  o.add_flag("--compact", chosen.compact, "Write runs of blocks instead of single ones");
  const auto repair =
      o.add_flag("-r,--repair", chosen.repair, "Dump what can be saved of damaged metadata");
  add_salvage_options(o, chosen.given, repair);
  line.add_device();
  return line.run(argc, argv, [&] { return dump_job(line, chosen).run(); });
}

}  // namespace era
