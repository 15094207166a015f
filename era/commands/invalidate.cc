// SPDX-License-Identifier: GPL-3.0-or-later
// era_invalidate: lists the blocks that were written since an era.
#include "era/invalidate/invalidate.h"

#include <limits>
#include <map>
#include <optional>

#include "era/commands/command_line.h"
#include "era/commands/finding_text.h"
#include "era/commands/output.h"
#include "era/commands/salvage_words.h"
#include "era/invalidate/list_text.h"
#include "era/view/finding_groups.h"

namespace era {
namespace {

enum class list_unit { block, sector, byte };

struct options {
  std::optional<std::uint32_t> written_since, written_before;
  bool metadata_snapshot = false, repair = false;
  salvage_wishes wishes;
  list_format format = list_format::xml;
  list_unit unit = list_unit::block;
  std::string output;
};

std::uint64_t scale_of(list_unit unit, std::uint64_t sectors) {
  switch (unit) {
    case list_unit::block: return 1;
    case list_unit::sector: return sectors;
    case list_unit::byte: break;
  }
  if (sectors > std::numeric_limits<std::uint64_t>::max() / 512 / max_origin_blocks)
    throw output_error("blocks of this size cannot be counted in bytes; use --unit sector");
  return sectors * 512;
}

class invalidation {
 public:
  invalidation(const command_line& line, const options& chosen)
      : line_(line),
        chosen_(chosen),
        window_{*chosen.written_since,
                chosen.written_before.value_or(std::numeric_limits<std::uint32_t>::max())},
        device_(line.device(),
                chosen.metadata_snapshot ? pd::access::shared : pd::access::exclusive,
                line.engine()),
        // A repair makes a report of its own.
        groups_([this](const finding& f) {
          if (!chosen_.repair) line_.say(in_words(device_.path(), f));
        }) {
    // The last era there can be belongs to a window without an end.
    if (!chosen.written_before) ++window_.end;
  }

  int run() {
    require_other_output(device_, chosen_.output);
    changed_blocks answer(device_, source_, [this](finding f) { groups_.add(std::move(f)); });
    if (const auto listed = answer.list(window_)) {
      const metadata& m = *answer.opened();
      warn_of_the_future(m.sb.current_era);
      print(*listed, m.sb.data_block_size, m);
      return exit_success;
    }
    if (chosen_.repair) return list_salvaged();
    groups_.flush();
    line_.say(fmt::format(
        "{}: is damaged: nothing is listed, since blocks that damage hides would be missing; "
        "--repair lists them as written, too",
        device_.path()));
    return exit_failure;
  }

 private:
  int list_salvaged() {
    salvage_words words(line_, device_, false);
    salvage_wishes wishes = chosen_.wishes;
    wishes.from = source_;
    const salvaged saved = words.salvage(wishes, [] {});
    warn_of_the_future(saved.current_era.value);
    const listed_blocks listed = list_blocks(saved, device_, window_);
    line_.say(fmt::format(
        "{}: is damaged: {} of the {} blocks listed are there only because it is unknown when they "
        "were written",
        device_.path(), listed.in_doubt, listed.listed));
    print(listed, saved.block_size, saved.read_from);
    return exit_success;
  }

  void warn_of_the_future(std::uint32_t current) const {
    if (*chosen_.written_since > current)
      line_.say(
          fmt::format("{}: warning: nothing can have been written since era {}: the current era "
                      "is {}",
                      device_.path(), *chosen_.written_since, current));
  }

  void print(const listed_blocks& listed, std::uint32_t block_size, const metadata& m) const {
    const list_text text(chosen_.format, scale_of(chosen_.unit, block_size));
    output out(chosen_.output);
    pd::read_queue queue(device_.make_engine(), device_.nr_blocks());
    require_still_held(queue, device_, m);
    text_buffer frame;
    text.begin(frame);
    out.write(frame.view());
    bool first = chosen_.format == list_format::json;
    const stretch_printer print_lines = [&](text_buffer& lines, std::span<const pd::range> r) {
      text.lines(lines, r);
    };
    print_stretches(listed.blocks, device_.nr_workers(), print_lines, [&](std::string_view piece) {
      if (!piece.empty() && std::exchange(first, false)) piece.remove_prefix(1);
      out.write(piece);
    });
    frame.clear();
    text.end(frame);
    out.write(frame.view());
    out.commit();
  }

  const command_line& line_;
  const options& chosen_;
  const source source_ = chosen_.metadata_snapshot ? source::snapshot : source::live;
  era_window window_;
  pd::block_device device_;
  finding_groups groups_;
};

template <class Value>
CLI::CheckedTransformer one_of(std::map<std::string, Value> names) {
  return CLI::CheckedTransformer(std::move(names));
}

}  // namespace

int invalidate_command(int argc, char** argv) {
  command_line line("era_invalidate", "Lists the blocks that were written since an era.",
                    "[options] --written-since ERA {device|file}");
  options chosen;
  line.app()
      .add_option("--written-since", chosen.written_since,
                  "List blocks that were written in this era or a later one; 0: all blocks")
      ->option_text("ERA")
      ->required();
  line.app()
      .add_option("--written-before", chosen.written_before,
                  "List only those whose last write was before this era")
      ->option_text("ERA");
  line.app().add_flag("--metadata-snapshot", chosen.metadata_snapshot,
                      "Ask the metadata snapshot; the device may be live");
  auto* repair = line.app().add_flag(
      "--repair", chosen.repair, "List blocks that damage hides as written, instead of nothing");
  line.app()
      .add_option("--format", chosen.format, "How the list is written (default: xml)")
      ->transform(one_of<list_format>(
          {{"xml", list_format::xml}, {"text", list_format::text}, {"json", list_format::json}}))
      ->option_text("xml|text|json");
  line.app()
      .add_option("--unit", chosen.unit, "What it counts in (default: block)")
      ->transform(one_of<list_unit>(
          {{"block", list_unit::block}, {"sector", list_unit::sector}, {"byte", list_unit::byte}}))
      ->option_text("block|sector|byte");
  line.app()
      .add_option("-o,--output", chosen.output, "Write to a file instead of standard output")
      ->option_text("FILE");
  add_salvage_options(line.app(), chosen.wishes, repair);
  line.add_device();
  return line.run(argc, argv, [&] { return invalidation(line, chosen).run(); });
}

}  // namespace era
