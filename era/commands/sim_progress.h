// SPDX-License-Identifier: GPL-3.0-or-later
// How far a run of era_sim is, as a text on a terminal: by the position in the input, or, if the
// input has no length, by the line that runs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "era/commands/progress.h"
#include "era/sim/line_reader.h"

namespace era {

struct sim_progress_options {
  std::string command;  // "era_sim"
  // Somebody types the lines: the share and the time left are those of a line, not of the input.
  bool is_dialogue = false;
  progress::sink to = progress_on_terminal();  // empty: nothing is shown
};

// For one thread.
class sim_progress {
 public:
  using clock = progress::clock;

  // The time counts from `now`. The input must live as long as this.
  sim_progress(const sim::line_reader& input, sim_progress_options,
               clock::time_point now = clock::now());
  // As clear().
  ~sim_progress() = default;
  sim_progress(const sim_progress&) = delete;
  sim_progress& operator=(const sim_progress&) = delete;

  // The metadata is open: the text names a place in the input from now on.
  void end_opening() noexcept { is_opening_ = false; }
  // To be called before each line of the input is read: its bytes count from there.
  void begin_line() noexcept { line_begins_ = input_.bytes_done(); }
  // The text goes away, and the time counts from `now`.
  void restart_clock(clock::time_point now = clock::now());

  // done, total: of the line that runs, in units of its own; total is 0 if it is not known. Shows
  // nothing in the first second, and then a text a few times a second at most. Costs little if
  // nothing is due: it reads the clock.
  void update(std::uint64_t done, std::uint64_t total, clock::time_point now = clock::now());
  // The text goes away. To be called before anything else is printed.
  void clear() { shown_->clear(); }

 private:
  std::string text(std::uint64_t done, std::uint64_t total, double seconds) const;
  std::uint64_t input_bytes() const;

  const sim::line_reader& input_;
  const sim_progress_options options_;
  std::optional<progress> shown_;  // always has a value
  bool is_opening_ = true;
  std::uint64_t line_begins_ = 0;  // bytes before the line that runs
};

}  // namespace era
