// SPDX-License-Identifier: GPL-3.0-or-later
// era_check: checks all of the metadata, and says what is wrong and what that means.
#include "era/check/check.h"

#include <utility>

#include "config.h"
#include "era/commands/command_line.h"
#include "era/commands/finding_text.h"
#include "era/commands/metadata_source.h"
#include "era/commands/output.h"
#include "era/commands/read_progress.h"
#include "era/damage/finding_groups.h"
#include "era/text/range_text.h"

namespace era {
namespace {

struct options {
  bool quiet = false;
  bool superblock_only = false;
  bool ignore_non_fatal = false;
  source from = source::live;
  bool json = false;
};

// "1 leaf", "2 leaves"
std::string count(std::uint64_t n, const char* one, const char* many) {
  return fmt::format("{} {}", n, n == 1 ? one : many);
}

std::string in_kib(std::uint32_t sectors) { return fmt::format("{} KiB", sectors / 2); }

// A snapshot's superblock still names the one that it had; it was empty, and is not part of it.
bool has_current_writeset(const view_summary& v) {
  return v.location == superblock_location && v.sb.current_root != 0;
}

// The result of a check as text: findings on stderr as they come, a summary on standard output.
class text_report {
 public:
  text_report(const command_line& line, bool quiet) : line_(line), quiet_(quiet) {}

  void add(const finding& f) {
    if (!quiet_) line_.say_in_bulk(in_words(line_.device(), f));
  }

  void finish(const check_summary& s, std::uint64_t errors, std::uint64_t leaks) {
    if (quiet_) return;
    std::string text =
        fmt::format("{}: {}", line_.device(), counted(s.nr_metadata_blocks, "metadata block"));
    if (s.blocks_in_use) text += fmt::format(", {} in use", *s.blocks_in_use);
    text += '\n';
    if (s.live) text += view("superblock", *s.live);
    if (s.snapshot) text += view("metadata snapshot", *s.snapshot);
    text += looked_at(s);
    text += verdict(s, errors, leaks);
    line_.print_kept();
    print(text);
  }

 private:
  static std::string view(const char* name, const view_summary& v) {
    return fmt::format("{} (block {}): era {}, {} of {} ({} sectors) each\n", name, v.location,
                       std::uint32_t{v.sb.current_era},
                       count(v.sb.nr_blocks, "origin block", "origin blocks"),
                       in_kib(v.sb.data_block_size), std::uint32_t{v.sb.data_block_size});
  }

  static std::string content(const view_summary& v, bool snapshot) {
    if (v.array_blocks == 0 && v.bitset_blocks == 0 && v.archived_writesets == 0) return "";
    return fmt::format(", {} ({}), {}{} ({})", snapshot ? "the snapshot's era array" : "era array",
                       count(v.array_blocks, "block", "blocks"),
                       count(v.archived_writesets, "archived writeset", "archived writesets"),
                       has_current_writeset(v) ? " and the current one" : "",
                       count(v.bitset_blocks, "block", "blocks"));
  }

  static std::string looked_at(const check_summary& s) {
    std::string text = "looked at: superblock";
    if (s.live) text += content(*s.live, false);
    if (s.snapshot) text += content(*s.snapshot, true);
    if (s.blocks_in_use) text += ", space map, reference counts";
    if (s.blocks_in_use && !s.leaks_checked)
      text += " (not for leaks: damaged blocks hide what they refer to)";
    return text + '\n';
  }

  static std::string verdict(const check_summary& s, std::uint64_t errors, std::uint64_t leaks) {
    if (errors + leaks == 0) return "found: nothing wrong\n";
    const std::string found = fmt::format("found: {}, {}\n", count(errors, "error", "errors"),
                                          count(leaks, "leak", "leaks"));
    if (errors == 0) return found + "next: nothing has to be done; leaked blocks stay unused\n";
    if (!s.live)
      return found +
             "next: make sure that this is the metadata device; if it is, do not activate it, and "
             "see what era_repair finds\n";
    return found +
           "next: do not activate the device; keep a copy of it, and let era_repair write repaired "
           "metadata to a new device, where the blocks named above count as written\n";
  }

  const command_line& line_;
  bool quiet_;
};

// The same as one JSON document on standard output.
class json_report {
 public:
  explicit json_report(const command_line& line) {
    text_ = fmt::format("{{\"tool\":\"era_check\",\"version\":\"{}\",\"device\":{},\"findings\":[",
                        ERA_TOOLS_VERSION, json_string(line.device()));
  }

  void add(const finding& f) {
    if (!std::exchange(first_, false)) text_ += ',';
    text_ += '\n' + in_json(f);
    constexpr std::size_t large = 1 << 16;
    if (text_.size() < large) return;
    out_.write(text_);
    text_.clear();
  }

  void finish(const check_summary& s, std::uint64_t errors, std::uint64_t leaks) {
    text_ += fmt::format(
        "],\n\"metadata_blocks\":{},\"blocks_in_use\":{},\"leaks_checked\":{},\n\"live\":{},\n"
        "\"snapshot\":{},\n\"errors\":{},\"leaks\":{}}}\n",
        s.nr_metadata_blocks, s.blocks_in_use ? fmt::to_string(*s.blocks_in_use) : "null",
        s.leaks_checked, view(s.live), view(s.snapshot), errors, leaks);
    out_.write(text_);
    out_.commit();
  }

 private:
  static std::string view(const std::optional<view_summary>& v) {
    if (!v) return "null";
    return fmt::format(
        "{{\"superblock\":{},\"current_era\":{},\"origin_blocks\":{},\"block_size\":{},"
        "\"current_writeset\":{},\"archived_writesets\":{},\"era_array_blocks\":{},"
        "\"bitset_blocks\":{}}}",
        v->location, std::uint32_t{v->sb.current_era}, std::uint32_t{v->sb.nr_blocks},
        std::uint32_t{v->sb.data_block_size}, has_current_writeset(*v), v->archived_writesets,
        v->array_blocks, v->bitset_blocks);
  }

  std::string text_;
  output out_{""};
  bool first_ = true;
};

template <class Report>
int check(command_line& line, const options& chosen, Report report) {
  const check_scope scope{.from = chosen.from, .superblock_only = chosen.superblock_only};
  pd::block_device device(line.device(), access_to(chosen.from), line.engine());
  if (!chosen.quiet) require_other_output(device, "the metadata", "");
  read_progress shown(line, device, {.is_quiet = chosen.quiet, .prints = chosen.json});

  std::uint64_t errors = 0, leaks = 0;
  finding_groups groups([&](const finding& f) {
    ++(f.fatal() ? errors : leaks);
    report.add(f);
  });
  const check_summary summary =
      check_metadata(device, scope, [&](finding f) { groups.add(std::move(f)); });
  groups.flush();
  shown.finish();
  report.finish(summary, errors, leaks);
  return errors > 0 || (leaks > 0 && !chosen.ignore_non_fatal) ? exit_failure : exit_success;
}

}  // namespace

int check_command(int argc, char** argv) {
  command_line line("era_check", "Checks dm-era metadata, all of it.", "[options] {device|file}");
  options chosen;
  auto& o = line.options();
  o.add_flag("-q,--quiet", chosen.quiet, "Print no findings and no summary");
  o.add_flag("--super-block-only", chosen.superblock_only, "Check only the superblock");
  o.add_flag("--ignore-non-fatal-errors", chosen.ignore_non_fatal,
             "Exit with 0 if only leaked blocks were found");
  o.may_have_word(add_metadata_snapshot(
      o, chosen.from, "Check what the metadata snapshot reaches; the device may be live"));
  o.add_flag("--json", chosen.json, "Print findings and summary as one JSON document");
  line.add_device();
  return line.run(argc, argv, [&] {
    return chosen.json && !chosen.quiet ? check(line, chosen, json_report(line))
                                        : check(line, chosen, text_report(line, chosen.quiet));
  });
}

}  // namespace era
