// SPDX-License-Identifier: GPL-3.0-or-later
// era_sim: the target in user space, driven by a script, a trace or a terminal.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>

#include "era/commands/command_line.h"
#include "era/commands/interruption.h"
#include "era/commands/output.h"
#include "era/commands/progress.h"
#include "era/metadata/metadata_builder.h"
#include "era/sim/created_file.h"
#include "era/sim/line_reader.h"
#include "era/sim/origin.h"
#include "era/sim/simulation.h"
#include "era/sim/words.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/output_device.h"
#include "persistent-data/io/storage.h"

namespace era {
namespace {

// A text that is empty was not given.
struct options {
  std::string metadata, origin, script, trace, trace_device;
  std::optional<std::uint64_t> create, size;  // sectors
  std::optional<std::uint32_t> block_size;    // sectors
  std::optional<std::uint32_t> group;
  sim::era_length era_every;
  sim::digestion_mode digestion = sim::digestion_mode::automatic;
};

// A line that cannot be done. The message has the file and the line.
class failed_line : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

std::string with_way_out(const std::exception& e) {
  const bool is_damage = dynamic_cast<const pd::damaged_metadata*>(&e) != nullptr;
  return is_damage ? fmt::format("{}; see era_check", e.what()) : e.what();
}

std::uint64_t parse_metadata_size(std::string_view text) {
  const std::uint64_t sectors = sim::parse_sectors(text);
  constexpr std::uint64_t most = pd::max_metadata_blocks * sectors_per_metadata_block;
  if (sectors > most)
    throw pd::invalid_input(
        fmt::format("metadata of {} sectors cannot be made; {} are used at most", sectors, most));
  if (sectors < sectors_per_metadata_block)
    throw pd::invalid_input(
        fmt::format("metadata has at least {} sectors (4K)", sectors_per_metadata_block));
  return sectors;
}

// Returns nullopt if the metadata is not formatted.
std::optional<superblock> look(pd::block_store& metadata) {
  pd::block first;
  metadata.read(superblock_location, first);
  if (pd::is_zero(first)) return {};
  if (const auto wrong = validate_superblock(first, superblock_location))
    throw pd::device_error(
        fmt::format("{}: superblock (block 0): {}", metadata.name(), wrong->text));
  return first.as<superblock>();
}

class simulator {
 public:
  // Opens everything. If a file is created for the metadata, it goes away again unless a command is
  // run or the input ends.
  simulator(const command_line& line, const options& chosen)
      : line_(line), chosen_(chosen), reader_(chosen.trace_device) {
    talks_ = input().empty() && ::isatty(STDIN_FILENO) == 1;
    lines_.emplace(input().empty() ? "-" : input(),
                   [this](int fd) { ask([&] { signals_.wait_for(fd); }); });
    if (chosen_.create) created_.emplace(chosen_.metadata, *chosen_.create * pd::sector_size);
    start();
  }

  int run() {
    const auto start = std::chrono::steady_clock::now();
    bool crashed = false;
    try {
      crashed = run_input() == ending::crash;
      begin_work();
      if (!crashed) simulation_->remove();
      out_.commit();
    } catch (const pd::closed_pipe&) {
      leave();
      throw;
    } catch (const std::exception& e) {
      if (at_prompt_) std::fputs("\n", stderr);
      say(with_way_out(e));
      leave();
      return exit_failure;
    }
    is_ending_ = true;  // everything is done: a signal changes nothing any more
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    say(crashed ? "stopped as if the power was cut" : simulation_->summary(took.count()));
    return exit_success;
  }

 private:
  enum class ending { none, input_ended, crash };

  bool replays() const { return !chosen_.trace.empty(); }
  const std::string& input() const { return replays() ? chosen_.trace : chosen_.script; }

  // --- Opening

  void start() {
    device_.emplace(chosen_.metadata, 1024, line_.engine());
    store_ = device_->make_store();
    const auto sb = look(*store_);
    if (chosen_.origin.empty())
      origin_ = std::make_unique<sim::no_origin>();
    else
      open_origin();
    sim::simulation_options how{
        .metadata = chosen_.metadata,
        .origin = chosen_.origin.empty() ? "-" : chosen_.origin,
        .origin_sectors = origin_sectors_,
        .group = chosen_.group.value_or(1),
        .digestion = chosen_.digestion,
        .out = [this](std::string_view text) { print(text); },
        .progress = [this](std::uint64_t done,
                           std::uint64_t total) { report_progress(done, total); }};
    try {
      simulation_.emplace(*store_, *origin_, find_geometry(sb), std::move(how));
    } catch (const pd::damaged_metadata& e) {
      throw pd::damaged_metadata(with_way_out(e));
    }
  }

  void open_origin() {
    const std::string& path = chosen_.origin;
    if (pd::block_device(chosen_.metadata, pd::access::shared).overlaps(path))
      throw pd::device_error(
          fmt::format("{}: is the metadata, and cannot be the origin, too", path));
    const bool is_standard = input().empty() || input() == "-";
    if (pd::storage::at(is_standard ? "/dev/stdin" : input()).overlaps(pd::storage::at(path)))
      throw pd::device_error(fmt::format("{}: is the {}, and cannot be the origin, too", path,
                                         replays() ? "trace" : "script"));
    auto file = std::make_unique<sim::file_origin>(path);
    origin_sectors_ = file->sectors();
    if (*origin_sectors_ == 0)
      throw pd::device_error(fmt::format("{}: the origin is smaller than a sector", path));
    origin_ = std::move(file);
  }

  target::geometry find_geometry(const std::optional<superblock>& sb) const {
    target::geometry g{sb ? std::uint32_t{sb->data_block_size} : 128, 0};
    if (chosen_.block_size) g.block_size = *chosen_.block_size;
    if (chosen_.size)
      g.length = *chosen_.size;
    else if (origin_sectors_)
      g.length = *origin_sectors_;
    else if (sb && sb->nr_blocks != 0)
      g.length = std::uint64_t{sb->nr_blocks} * g.block_size;
    else
      throw pd::device_error(fmt::format(
          "{}: is not formatted; give the size of the device with --size", chosen_.metadata));
    require_room(g);
    return g;
  }

  void require_room(const target::geometry& g) const {
    if (g.block_size == 0) return;
    const std::uint64_t blocks = blocks_for(g.length, g.block_size);
    if (blocks > max_origin_blocks) return;  // the target says so
    const auto nr_blocks = static_cast<std::uint32_t>(blocks);
    if (blocks_needed(nr_blocks, store_->nr_blocks()) <= store_->nr_blocks()) return;
    const std::uint64_t suggested = blocks_suggested(nr_blocks);
    throw pd::device_error(fmt::format(
        "{}: is too small for {} origin blocks: it has {} metadata blocks; {}", chosen_.metadata,
        nr_blocks, store_->nr_blocks(),
        chosen_.create
            ? fmt::format("use --create-metadata {}M", suggested * pd::block_size >> 20)
            : pd::how_to_enlarge(chosen_.metadata, device_->is_block_device(), suggested)));
  }

  // --- Input

  ending run_input() {
    if (talks_) return talk();
    while (const auto text = next_line()) {
      const ending end = at_line([&] { return replays() ? replay(*text) : run_line(*text); });
      if (end != ending::none) return end;
    }
    if (replays()) at_line([&] { return reader_.finish(), ending::none; });
    return ending::input_ended;
  }

  // A mistake does not end the session of somebody at a terminal.
  ending talk() {
    while (true) {
      print("era> ");
      at_prompt_ = true;
      std::optional<std::string_view> text;
      try {
        text = next_line();
      } catch (const failed_line& e) {
        say(e.what());
        continue;
      }
      if (!text) break;
      at_prompt_ = false;
      shown_ = make_progress();
      try {
        if (const ending end = run_line(*text); end != ending::none) return end;
      } catch (const pd::closed_pipe&) {
        throw;
      } catch (const interrupted&) {
        throw;
      } catch (const std::exception& e) {
        say(with_way_out(e));
      }
    }
    print("\n");
    return ending::input_ended;
  }

  ending run_line(std::string_view text) {
    if (!sim::take_refusal_mark(text)) return run_command(text);
    try {
      run_command(text);
    } catch (const pd::invalid_input&) {
      return ending::none;
    } catch (const pd::no_space&) {
      return ending::none;
    }
    throw pd::invalid_input(fmt::format("'{}' was not refused", sim::printable_command(text)));
  }

  ending run_command(std::string_view text) {
    const auto c = sim::parse(text);
    if (!c) return ending::none;
    if (c->what == sim::verb::quit) return ending::input_ended;
    begin_work();
    if (!simulation_->run(*c)) return ending::crash;
    if (talks_) print(simulation_->answer());
    return ending::none;
  }

  ending replay(std::string_view text) {
    if (const auto request = reader_.read(text)) {
      begin_work();
      simulation_->replay(*request, chosen_.era_every);
    }
    return ending::none;
  }

  std::optional<std::string_view> next_line() {
    ask([&] { signals_.check(); });
    bytes_before_ = lines_->bytes_done();
    try {
      return lines_->next();
    } catch (const pd::invalid_input& e) {
      throw failed_line(where() + ": " + e.what());
    }
  }

  std::string where() const { return fmt::format("{}:{}", lines_->name(), lines_->line_number()); }

  // Errors get the file's name and the line's number.
  template <class Work>
  ending at_line(Work work) const {
    try {
      return work();
    } catch (const pd::closed_pipe&) {
      throw;
    } catch (const std::exception& e) {
      throw failed_line(where() + ": " + with_way_out(e));
    }
  }

  // --- Signals, and what is printed

  // Once a signal has come, others do not disturb the end.
  template <class Question>
  void ask(Question question) {
    if (is_ending_) return;
    try {
      question();
    } catch (const interrupted&) {
      is_ending_ = true;
      throw;
    }
  }

  void report_progress(std::uint64_t done, std::uint64_t total) {
    ask([&] { signals_.check(); });
    shown_->update([&](double seconds) { return how_far(done, total, seconds); });
  }

  std::unique_ptr<progress> make_progress() const {
    return std::make_unique<progress>(line_.name(), std::nullopt, progress_on_terminal());
  }

  // done and total are of the line. If the input has a length, the position in it counts instead.
  std::string how_far(std::uint64_t done, std::uint64_t total, double seconds) const {
    std::string text = line_.name() + ": " + (simulation_ ? where() : "opening the metadata");
    const std::uint64_t bytes = talks_ ? 0 : lines_->bytes().value_or(0);  // 0: not known
    const double of_line = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 0;
    constexpr std::uint64_t whole = 1'000'000;
    std::uint64_t share = static_cast<std::uint64_t>(of_line * whole);
    if (bytes > 0) {
      const auto line_bytes = static_cast<double>(lines_->bytes_done() - bytes_before_);
      const double read = static_cast<double>(bytes_before_) + of_line * line_bytes;
      share = static_cast<std::uint64_t>(read / static_cast<double>(bytes) * whole);
    } else if (total == 0) {
      return text;
    }
    text += fmt::format(": {}%", share * 100 / whole);
    // If only the line's share is known, its time is known at a terminal: each line begins anew.
    const bool has_time = talks_ || bytes > 0;
    const std::string left = has_time ? time_left(share, whole, seconds) : "";
    return left.empty() ? text : text + fmt::format(", {} left", left);
  }

  void say(const std::string& text) {
    shown_->clear();
    line_.say(text);
  }

  // In pieces that a pipe with room takes without blocking.
  void print(std::string_view text) {
    shown_->clear();
    for (; !text.empty(); text.remove_prefix(std::min<std::size_t>(text.size(), PIPE_BUF))) {
      ask([&] { signals_.wait_for_room(STDOUT_FILENO); });
      out_.write(text.substr(0, PIPE_BUF));
    }
  }

  // From now on the metadata is worth keeping.
  void begin_work() {
    if (created_) created_->keep();
  }

  void leave() {
    is_ending_ = true;
    if (!created_ || created_->is_kept()) simulation_->leave();
  }

  const command_line& line_;
  const options& chosen_;
  const interruption signals_;
  bool is_ending_ = false, talks_ = false, at_prompt_ = false;
  output out_{""};
  std::unique_ptr<progress> shown_ = make_progress();
  sim::trace_reader reader_;
  std::optional<sim::line_reader> lines_;
  std::uint64_t bytes_before_ = 0;  // of the input, the line that runs
  std::optional<sim::created_file> created_;
  std::optional<pd::output_device> device_;
  std::unique_ptr<pd::block_store> store_;
  std::unique_ptr<origin_device> origin_;
  std::optional<std::uint64_t> origin_sectors_;
  std::optional<sim::simulation> simulation_;
};

}  // namespace

int sim_command(int argc, char** argv) {
  command_line line("era_sim", "Simulates a dm-era device: by a script, a trace or by hand.",
                    "[options] --metadata {device|file}");
  options chosen;
  auto& o = line.options();
  o.require(o.add_text("--metadata", chosen.metadata, "{device|file}",
                       "The metadata device, or an existing file"));
  o.add_parsed("--create-metadata", chosen.create, parse_metadata_size, "SIZE",
               "Create the file first, with this size");
  o.add_text("--origin", chosen.origin, "{device|file}", "Where data goes; without it, nowhere");
  o.add_number("--block-size", chosen.block_size, {8, 0xffffffff, 8}, "SECTORS",
               "Sectors of a block (default: as the metadata says, or 128)");
  o.add_parsed("--size", chosen.size, sim::parse_sectors, "SIZE",
               "Size of the device: sectors, or 1G and the like");
  const auto script =
      o.add_text("--script", chosen.script, "FILE", "Commands; - for standard input");
  const auto trace =
      o.add_text("--trace", chosen.trace, "FILE", "Replay blkparse's text or a fio iolog");
  o.not_with(trace, script);
  o.only_with(o.add_text("--trace-device", chosen.trace_device, "{MAJOR,MINOR|FILE}",
                         "The device of the trace, if it has several"),
              trace);
  o.only_with(
      o.add_parsed("--era-every", chosen.era_every, sim::parse_era_length, "N{s|writes|blocks}",
                   "End an era of the trace after this: 60s, 1000writes, 500blocks"),
      trace);
  o.add_number("--group", chosen.group, {1, 65536, 1}, "N",
               "Random and sequential writes that share a commit (default: 1)");
  o.add_choice<sim::digestion_mode>(
      "--digest", chosen.digestion,
      {{"auto", sim::digestion_mode::automatic}, {"manual", sim::digestion_mode::manual}},
      "Digest by itself, or by command (default: auto)");
  line.add_io_engine();
  return line.run(argc, argv, [&] { return simulator(line, chosen).run(); });
}

}  // namespace era
