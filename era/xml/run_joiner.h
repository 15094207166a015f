// SPDX-License-Identifier: GPL-3.0-or-later
// Runs of neighbouring blocks with one value, found piece by piece and joined where pieces meet.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "era/format/units.h"
#include "era/text/text_buffer.h"

namespace era {

struct value_run {
  origin_range blocks;
  std::uint32_t value = 0;
};

using run_printer = std::function<void(text_buffer&, const value_run&)>;

// The runs of a piece: those within are printed already; the first and the last may go on in the
// neighbouring pieces. A piece of one run has it as its first.
struct piece_of_runs {
  std::optional<value_run> first, last;
  text_buffer within;
};

// Takes the runs of a piece, in order.
class run_collector {
 public:
  run_collector(piece_of_runs& piece, const run_printer& print) : piece_(piece), print_(print) {}

  void add(const value_run&);

 private:
  piece_of_runs& piece_;
  const run_printer& print_;
};

// Takes pieces and runs in order, and prints all runs, each as long as it goes.
class run_joiner {
 public:
  explicit run_joiner(run_printer print) : print_(std::move(print)) {}

  void add(const piece_of_runs&, text_buffer& out);
  void add(const value_run&, text_buffer& out);
  void finish(text_buffer& out);

 private:
  run_printer print_;
  std::optional<value_run> open_;
};

}  // namespace era
