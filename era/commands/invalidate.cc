// SPDX-License-Identifier: GPL-3.0-or-later
// era_invalidate: lists the blocks that were written since an era, or the blocks of a cache above
// the device that hold data of them.
#include <unistd.h>

#include <limits>
#include <optional>

#include "era/cache/stale_blocks.h"
#include "era/commands/command_line.h"
#include "era/commands/list_changes.h"
#include "era/commands/metadata_source.h"
#include "era/commands/output.h"
#include "era/commands/repair_reporter.h"
#include "era/text/list_writer.h"
#include "era/xml/source.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

enum class list_unit { block, sector, byte };

std::string_view name(list_unit unit) {
  switch (unit) {
    case list_unit::block: return "block";
    case list_unit::sector: return "sector";
    case list_unit::byte: return "byte";
  }
  return "";
}

struct options {
  std::optional<std::uint32_t> written_since, written_before;
  source from = source::live;
  bool repair = false;
  repair_options given;
  list_format format = list_format::xml;
  std::optional<list_unit> chosen_unit;
  std::optional<std::uint64_t> device_size;  // sectors
  std::string output;
  std::string cache;  // the name of a cache's dump; empty: era blocks are listed
  std::optional<std::uint64_t> cache_offset;  // sectors
  bool require_clean = false;
  bool verbose = false;

  list_unit unit() const {
    return chosen_unit.value_or(format == list_format::ddrescue ? list_unit::byte
                                                                : list_unit::block);
  }
};

constexpr std::uint64_t no_end = std::uint64_t{1} << 32;  // past the last era there can be

class invalidation {
 public:
  invalidation(command_line& line, const options& chosen)
      : line_(line),
        chosen_(chosen),
        window_{*chosen.written_since,
                chosen.written_before ? std::uint64_t{*chosen.written_before} : no_end},
        device_(line.device(), access_to(chosen.from), line.engine()) {}

  int run() {
    require_other_output(device_, "the metadata", chosen_.output);
    open_dump();
    const auto found = list_changes(
        line_, device_,
        {.window = window_,
         .from = chosen_.from,
         .repair = chosen_.repair,
         .given = chosen_.given,
         .in_doubt = dump_ ? "changed blocks count as changed" : "blocks listed are there"});
    if (!found) return exit_failure;
    print(found->listed, found->opened);
    if (chosen_.verbose) say_next_era(found->opened);
    return exit_success;
  }

 private:
  std::uint64_t scale(const metadata& m) const {
    switch (chosen_.unit()) {
      case list_unit::block: return 1;
      case list_unit::sector: return m.block_size;
      case list_unit::byte: break;
    }
    if (m.block_size >
        std::numeric_limits<std::uint64_t>::max() / pd::sector_size / max_origin_blocks)
      throw pd::invalid_input(
          fmt::format("blocks of this size cannot be counted in bytes; use {}--unit sector",
                      chosen_.format == list_format::ddrescue ? "another --format, and " : ""));
    return bytes_of_block(m.block_size);
  }

  // Nothing if it does not fit into 64 bits.
  static std::optional<std::uint64_t> bytes_of(const metadata& m, std::uint64_t blocks) {
    std::uint64_t bytes = 0;
    if (__builtin_mul_overflow(blocks, bytes_of_block(m.block_size), &bytes)) return {};
    return bytes;
  }

  // The end of the device in the list's unit, if it is known.
  std::uint64_t limit(const metadata& m) const {
    if (!chosen_.device_size)
      return chosen_.format == list_format::ddrescue ? m.nr_blocks * scale(m)
                                                     : std::numeric_limits<std::uint64_t>::max();
    const std::uint64_t size = *chosen_.device_size;
    const std::uint64_t blocks = blocks_for(size, m.block_size);
    if (blocks != m.nr_blocks)
      throw pd::invalid_input(fmt::format(
          "{}: --device-size {} cannot be: it makes {} blocks of {} sectors, and the metadata has "
          "{}",
          device_.path(), size, blocks, m.block_size, m.nr_blocks));
    return chosen_.unit() == list_unit::byte ? size * pd::sector_size : size;
  }

  // The era to ask for next time, if the data was read when this metadata was the newest. A
  // metadata snapshot may be newer than the snapshot of the data, since eras may have ended between
  // them; and its current era goes on after it.
  std::optional<std::uint64_t> next_era(const metadata& m) const {
    const std::uint64_t current = m.least_current_era.value;
    if (chosen_.from == source::snapshot)
      return window_.end <= current ? std::optional(window_.end) : std::nullopt;
    return std::min(window_.end, current + 1);
  }

  void say_next_era(const metadata& m) const {
    const auto next = next_era(m);
    line_.say(fmt::format(
        "{}: {}", device_.path(),
        next ? fmt::format("next time: --written-since {}", *next)
             : "next time: --written-since with the era that began when the data was copied, which "
               "a metadata snapshot does not tell"));
  }

  static std::string or_null(const std::optional<std::uint64_t>& number) {
    return number ? fmt::to_string(*number) : "null";
  }

  std::string json_fields(const metadata& m) const {
    return fmt::format(
        "\"block_size\":{},\"nr_blocks\":{},\"written_since\":{},\"written_before\":{},"
        "\"current_era\":{},\"next_era\":{}",
        m.block_size, m.nr_blocks, *chosen_.written_since, or_null(chosen_.written_before),
        m.least_current_era, or_null(next_era(m)));
  }

  void print(const change_list& listed, const metadata& m) {
    if (dump_) return print_stale(listed, m);
    print(listed.blocks, list_writer(chosen_.format, scale(m), limit(m)),
          fmt::format("{},\"unit\":\"{}\",\"count\":{},\"bytes\":{}", json_fields(m),
                      name(chosen_.unit()), listed.listed, or_null(bytes_of(m, listed.listed))));
  }

  // --- The blocks of a cache.

  void open_dump() {
    if (chosen_.cache.empty()) return;
    dump_.emplace(chosen_.cache, pd::input_stream::before_read{},
                  "name what cache_dump prints of the cache's metadata");
    require_other_output(*dump_, "the dump of the cache", chosen_.output);
  }

  void print_stale(const change_list& listed, const metadata& m) {
    const stale_blocks stale = find_stale(listed.blocks, m);
    if (stale.dirty > 0 && chosen_.require_clean)
      throw pd::invalid_input(fmt::format(
          "{}: nothing is listed: {} blocks of the era device are dirty in the cache; before the "
          "rollback let the cache write them back (policy cleaner), or give them up without "
          "--require-clean",
          dump_->name(), stale.dirty));
    if (stale.dirty > 0)
      line_.say(fmt::format(
          "{}: {} of the {} cache blocks listed are dirty: their last writes are only in the "
          "cache, and are lost when they are dropped",
          dump_->name(), stale.dirty, stale.listed));
    print(stale.blocks, list_writer(chosen_.format, 1),
          fmt::format("{},\"unit\":\"cache_block\",\"cache_block_size\":{},"
                      "\"nr_cache_blocks\":{},\"cache_offset\":{},\"count\":{},\"dirty\":{},"
                      "\"bytes\":{}",
                      json_fields(m), stale.cache.block_size, stale.cache.nr_blocks,
                      chosen_.cache_offset.value_or(0), stale.listed, stale.dirty,
                      stale.listed * stale.cache.block_size * pd::sector_size));
  }

  stale_blocks find_stale(const block_set& changed, const metadata& m) {
    try {
      return list_stale_blocks(
          [this](char* buffer, std::size_t size) { return dump_->read(buffer, size); },
          dump_->name(), changed,
          {.offset = chosen_.cache_offset.value_or(0),
           .block_size = m.block_size,
           .nr_blocks = m.nr_blocks});
    } catch (const pd::invalid_input& e) {
      throw pd::invalid_input(fmt::format(
          "{}; nothing is listed: give the whole output of cache_dump, unchanged", e.what()));
    }
  }

  // --- The output.

  void print(const block_set& blocks, list_writer text, const std::string& fields) const {
    output out(chosen_.output);
    text_buffer frame;
    text.begin(frame, fields);
    out.write(frame.view());
    bool first = chosen_.format == list_format::json;
    const run_formatter print_lines = [&](text_buffer& lines, std::span<const origin_range> r) {
      text.lines(lines, r);
    };
    const bool in_order =
        chosen_.format == list_format::ddrescue || chosen_.format == list_format::messages;
    print_runs(blocks, in_order ? 1 : device_.nr_workers(), print_lines,
               [&](std::string_view piece) {
                 if (!piece.empty() && std::exchange(first, false)) piece.remove_prefix(1);
                 out.write(piece);
               });
    frame.clear();
    text.end(frame);
    out.write(frame.view());
    out.commit();
  }

  command_line& line_;
  const options& chosen_;
  era_window window_;
  pd::block_device device_;
  std::optional<xml::input_file> dump_;
};

void check(const options& chosen) {
  if (chosen.written_before && *chosen.written_before <= *chosen.written_since)
    throw pd::usage_error(
        fmt::format("--written-before {} is not after --written-since {}: there is no era between",
                    *chosen.written_before, *chosen.written_since));
  if (!chosen.cache.empty() && chosen.format == list_format::ddrescue)
    throw pd::usage_error(
        "--format ddrescue and --cache exclude each other: a mapfile is of the device's data");
  if (chosen.cache.empty() && chosen.format == list_format::messages)
    throw pd::usage_error("--format messages has no effect without --cache");
  if (chosen.device_size && chosen.unit() == list_unit::block)
    throw pd::usage_error("--device-size has no effect without --unit sector or --unit byte");
  if (chosen.format == list_format::ddrescue && chosen.unit() != list_unit::byte)
    throw pd::usage_error(fmt::format("--unit {} cannot be: ddrescue's mapfiles count in bytes",
                                      name(chosen.unit())));
}

}  // namespace

int invalidate_command(int argc, char** argv) {
  command_line line("era_invalidate", "Lists the blocks that were written since an era.",
                    "[options] --written-since ERA {device|file}");
  options chosen;
  constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
  auto& o = line.options();
  o.require(
      o.add_number("--written-since", chosen.written_since, {0, most}, "ERA",
                   "List blocks that were written in this era or a later one; 0: all blocks"));
  o.add_number("--written-before", chosen.written_before, {0, most}, "ERA",
               "List only those whose last write was before this era");
  o.may_have_word(
      add_metadata_snapshot(o, chosen.from, "Ask the metadata snapshot; the device may be live"));
  const auto repair = o.add_flag("--repair", chosen.repair,
                                 "List blocks that damage hides as written, instead of nothing");
  o.add_choice<list_format>("--format", chosen.format,
                            {{"xml", list_format::xml},
                             {"text", list_format::text},
                             {"json", list_format::json},
                             {"ddrescue", list_format::ddrescue},
                             {"messages", list_format::messages}},
                            "How the list is written (default: xml)");
  const auto unit = o.add_choice<std::optional<list_unit>>(
      "--unit", chosen.chosen_unit,
      {{"block", list_unit::block}, {"sector", list_unit::sector}, {"byte", list_unit::byte}},
      "The unit of the list (default: block; byte for a mapfile)");
  const auto device_size =
      o.add_number("--device-size", chosen.device_size,
                   {1, std::numeric_limits<std::uint64_t>::max() / pd::sector_size}, "SECTORS",
                   "End the last block where the device ends");
  const auto cache =
      o.add_text("--cache", chosen.cache, "DUMP",
                 "List the blocks of a cache that hold changed blocks;\nDUMP is what cache_dump "
                 "prints of it; - for standard input");
  o.not_with(cache, unit);
  o.not_with(cache, device_size);
  o.only_with(o.add_number("--cache-offset", chosen.cache_offset, {0, max_volume_sectors},
                           "SECTORS", "Where the device begins in the cached volume (default: 0)"),
              cache);
  o.only_with(o.add_flag("--require-clean", chosen.require_clean,
                         "List nothing if one of these cache blocks is dirty"),
              cache);
  o.add_flag("--verbose", chosen.verbose, "Say on standard error which era to ask for next time");
  o.add_text("-o,--output", chosen.output, "FILE", "Write to a file instead of standard output");
  add_salvage_options(o, chosen.given, repair);
  line.add_device();
  return line.run(argc, argv, [&] {
    check(chosen);
    return invalidation(line, chosen).run();
  });
}

}  // namespace era
