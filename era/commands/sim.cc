// SPDX-License-Identifier: GPL-3.0-or-later
// era_sim: the target in user space, driven by a script, a trace or a terminal.
// 1. Opens the input, then the devices, and resumes the simulated device.
// 2. Runs line after line. An error or a signal ends the run; at a terminal, an error does not.
// 3. Removes the device, unless a line was a crash; after an error, commits what is left to commit.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "era/commands/command_line.h"
#include "era/commands/interruption.h"
#include "era/commands/output.h"
#include "era/commands/sim_devices.h"
#include "era/commands/sim_progress.h"
#include "era/sim/line_reader.h"
#include "era/sim/script.h"
#include "era/sim/simulation.h"
#include "era/sim/trace.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

// A text that is empty was not given.
struct options {
  sim_device_options devices;
  std::string script, trace, trace_device;
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

// The devices, the input, and what is printed of a run.
class simulator {
 public:
  // Opens everything. If a file is created for the metadata, it goes away again unless a command is
  // run or the input ends.
  simulator(const command_line& line, const options& chosen)
      : line_(line),
        chosen_(chosen),
        reader_(chosen.trace_device),
        devices_(chosen.devices, {.path = input(), .is_trace = replays()}, line.engine()) {
    resume_device();
    progress_.end_opening();
  }

  int run() {
    const auto start = std::chrono::steady_clock::now();
    bool crashed = false;
    try {
      crashed = run_input() == ending::crash;
      devices_.keep_metadata();
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

  void resume_device() {
    const std::string& origin = chosen_.devices.origin;
    sim::simulation_options how{
        .metadata = chosen_.devices.metadata,
        .origin = origin.empty() ? "-" : origin,
        .origin_sectors = devices_.origin_sectors(),
        .group = chosen_.group.value_or(1),
        .digestion = chosen_.digestion,
        .out = [this](std::string_view text) { print(text); },
        .progress = [this](std::uint64_t done,
                           std::uint64_t total) { report_progress(done, total); }};
    try {
      simulation_.emplace(devices_.metadata(), devices_.origin(), devices_.geometry(),
                          std::move(how));
    } catch (const pd::damaged_metadata& e) {
      throw pd::damaged_metadata(with_way_out(e));
    }
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
      progress_.restart_clock();
      try {
        if (const ending end = run_line(*text); end != ending::none) return end;
      } catch (const pd::closed_pipe&) {
        throw;
      } catch (const interruption_error&) {
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
    devices_.keep_metadata();
    if (!simulation_->run(*c)) return ending::crash;
    if (talks_) print(simulation_->answer());
    return ending::none;
  }

  ending replay(std::string_view text) {
    if (const auto request = reader_.read(text)) {
      devices_.keep_metadata();
      simulation_->replay(*request, chosen_.era_every);
    }
    return ending::none;
  }

  std::optional<std::string_view> next_line() {
    ask([&] { signals_.check(); });
    progress_.begin_line();
    try {
      return lines_.next();
    } catch (const pd::invalid_input& e) {
      throw failed_line(lines_.place() + ": " + e.what());
    }
  }

  // Errors get the file's name and the line's number.
  template <class Work>
  ending at_line(Work work) const {
    try {
      return work();
    } catch (const pd::closed_pipe&) {
      throw;
    } catch (const std::exception& e) {
      throw failed_line(lines_.place() + ": " + with_way_out(e));
    }
  }

  // --- Signals, and what is printed

  // Once a signal has come, others do not disturb the end.
  template <class Question>
  void ask(Question question) {
    if (is_ending_) return;
    try {
      question();
    } catch (const interruption_error&) {
      is_ending_ = true;
      throw;
    }
  }

  void report_progress(std::uint64_t done, std::uint64_t total) {
    ask([&] { signals_.check(); });
    progress_.update(done, total);
  }

  void say(const std::string& text) {
    progress_.clear();
    line_.say(text);
  }

  // In pieces that a pipe with room takes without blocking.
  void print(std::string_view text) {
    progress_.clear();
    for (; !text.empty(); text.remove_prefix(std::min<std::size_t>(text.size(), PIPE_BUF))) {
      ask([&] { signals_.wait_for_room(STDOUT_FILENO); });
      out_.write(text.substr(0, PIPE_BUF));
    }
  }

  void leave() {
    is_ending_ = true;
    if (devices_.keeps_metadata()) simulation_->leave();
  }

  const command_line& line_;
  const options& chosen_;
  const interruption signals_;
  bool is_ending_ = false, at_prompt_ = false;
  output out_{""};
  sim::trace_reader reader_;
  const bool talks_ = input().empty() && ::isatty(STDIN_FILENO) == 1;
  sim::line_reader lines_{input().empty() ? "-" : input(),
                          [this](int fd) { ask([&] { signals_.wait_for(fd); }); }};
  sim_progress progress_{lines_, {.command = line_.name(), .is_dialogue = talks_}};
  sim_devices devices_;
  std::optional<sim::simulation> simulation_;
};

}  // namespace

int sim_command(int argc, char** argv) {
  command_line line("era_sim", "Simulates a dm-era device: by a script, a trace or by hand.",
                    "[options] --metadata {device|file}");
  options chosen;
  auto& o = line.options();
  o.require(o.add_text("--metadata", chosen.devices.metadata, "{device|file}",
                       "The metadata device, or an existing file"));
  o.add_parsed("--create-metadata", chosen.devices.create, parse_metadata_size, "SIZE",
               "Create the file first, with this size");
  o.add_text("--origin", chosen.devices.origin, "{device|file}",
             "Where data goes; without it, nowhere");
  o.add_number("--block-size", chosen.devices.block_size, {8, 0xffffffff, 8}, "SECTORS",
               "Sectors of a block (default: as the metadata says, or 128)");
  o.add_parsed("--size", chosen.devices.size, sim::parse_sectors, "SIZE",
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
