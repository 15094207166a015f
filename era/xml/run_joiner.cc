// SPDX-License-Identifier: GPL-3.0-or-later
// A collector keeps the first and the last run of its piece open and prints the runs between them.
// The joiner extends its open run with the first run of the next piece if the two meet and have one
// value, and prints the open run otherwise.
#include "era/xml/run_joiner.h"

#include <utility>

namespace era {
namespace {

bool extend(std::optional<value_run>& run, const value_run& next) {
  if (!run || run->value != next.value || run->blocks.end != next.blocks.begin) return false;
  run->blocks.end = next.blocks.end;
  return true;
}

}  // namespace

void run_collector::add(const value_run& run) {
  auto& open = piece_.last ? piece_.last : piece_.first;
  if (extend(open, run)) return;
  if (!piece_.first) {
    piece_.first = run;
    return;
  }
  if (piece_.last) print_(piece_.within, *piece_.last);
  piece_.last = run;
}

void run_joiner::add(const piece_of_runs& piece, text_buffer& out) {
  if (piece.first) add(*piece.first, out);
  if (!piece.last) return;
  if (piece.within.size() > 0) {
    finish(out);
    out.append(piece.within.view());
  }
  add(*piece.last, out);
}

void run_joiner::add(const value_run& run, text_buffer& out) {
  if (extend(open_, run)) return;
  finish(out);
  open_ = run;
}

void run_joiner::finish(text_buffer& out) {
  if (open_) print_(out, *std::exchange(open_, std::nullopt));
}

}  // namespace era
