// SPDX-License-Identifier: GPL-3.0-or-later
// The target, driven by commands and by traces.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "era/dm_target/target.h"
#include "era/sim/interruptible.h"
#include "era/sim/script.h"
#include "era/sim/trace.h"

namespace era::sim {

// When an era ends by itself.
struct era_length {
  enum class unit { seconds, writes, blocks } counted = unit::writes;
  std::uint64_t count = 0;  // 0: never
};
// "60s", "1000writes", "500blocks". Throws invalid_input.
era_length parse_era_length(std::string_view);

enum class digestion_mode { automatic, manual };

struct simulation_options {
  std::string metadata = {}, origin = {};            // names, for the table line
  std::optional<std::uint64_t> origin_sectors = {};  // nullopt if there is no origin
  std::uint64_t group = 1;  // pages of one command that are written at the same time; above 0
  digestion_mode digestion = digestion_mode::automatic;
  // Takes the text that status, table and help print.
  std::function<void(std::string_view)> out = [](std::string_view) {};
  // Called often, also within long commands: how far the command is, in units of its own. total is
  // 0 if that is not known. If it throws, the command ends in the middle: marks are committed
  // before data is written, and a change that is not committed yet is given up.
  std::function<void(std::uint64_t done, std::uint64_t total)> progress = [](auto, auto) {};
};

class simulation {
 public:
  // Opens or formats the metadata, and resumes the device. The devices must live as long as this.
  // Throws invalid_input, before anything is written, if the geometry cannot be or the device would
  // be longer than its origin; and what the target throws.
  simulation(pd::block_store& metadata, origin_device&, const target::geometry&,
             simulation_options);

  // Returns false if the command was a crash: nothing more is to be done. quit does nothing here.
  // Throws what the target throws; pd::no_space from digest says how many steps are digested.
  bool run(const command&);
  void replay(const traced_request&, const era_length&);

  // One line about the last command, for somebody at a terminal; empty if the command has printed
  // something itself.
  std::string answer() const;

  // A clean end, as when the device is removed.
  void remove();
  // An end after an error: commits what is not committed yet, and archives nothing.
  void leave();

  // "12 writes, 3 commits, ..."; seconds: how long it took.
  std::string summary(double seconds);

 private:
  struct counters {
    std::uint64_t marked = 0, commits = 0, digested = 0, printed = 0;
  };

  bool run_command(const command&);
  void write(std::uint64_t sector, std::uint64_t count);
  void write_data(std::uint64_t sector, std::uint64_t count);
  void write_pages(std::uint64_t count, const std::function<std::uint64_t()>& next_block);
  void discard(std::uint64_t sector, std::uint64_t count);
  void random_writes(const command&);
  void sequential_writes(const command&);
  void resume();
  void digest(std::uint64_t steps);
  void digest_in_background();
  const target::geometry& accepted(const target::geometry&) const;
  void require_in_device(std::uint64_t sector, std::uint64_t count) const;
  void require_in_origin(std::uint64_t length) const;
  void end_era_if_due(const era_length&, double seconds);
  void print(std::string_view);
  void report_progress() const { options_.progress(done_, total_); }
  counters count() const;

  simulation_options options_;
  std::uint64_t done_ = 0, total_ = 0;  // of the command that runs
  interruptible_store metadata_;
  interruptible_origin origin_;
  target target_;
  std::uint32_t block_size_;
  std::uint64_t length_;
  std::optional<std::uint64_t> new_length_;
  std::vector<std::byte> data_;
  std::vector<target::extent> group_;
  std::uint64_t writes_ = 0, digested_ = 0, printed_ = 0;
  counters before_;  // the last command
  // Since the era began.
  std::uint64_t writes_before_ = 0, marked_before_ = 0;
  double era_began_ = 0;
};

}  // namespace era::sim
