// SPDX-License-Identifier: GPL-3.0-or-later
// The share that is done, in millionths, is that of the bytes of the input: those of the lines
// before, and, of the line that runs, as many as its own share says. If the input has no length,
// or somebody types it, the share is that of the line.
#include "era/commands/sim_progress.h"

#include <utility>

#include <fmt/format.h>

namespace era {
namespace {

constexpr std::uint64_t whole = 1'000'000;

}  // namespace

sim_progress::sim_progress(const sim::line_reader& input, sim_progress_options options,
                           clock::time_point now)
    : input_(input), options_(std::move(options)) {
  restart_clock(now);
}

void sim_progress::restart_clock(clock::time_point now) {
  shown_.emplace(options_.command, std::nullopt, options_.to, now);
}

void sim_progress::update(std::uint64_t done, std::uint64_t total, clock::time_point now) {
  shown_->update([&](double seconds) { return text(done, total, seconds); }, now);
}

// Returns 0 if the input has no length that counts.
std::uint64_t sim_progress::input_bytes() const {
  return options_.is_dialogue ? 0 : input_.bytes().value_or(0);
}

std::string sim_progress::text(std::uint64_t done, std::uint64_t total, double seconds) const {
  std::string text =
      options_.command + ": " + (is_opening_ ? "opening the metadata" : input_.place());
  const std::uint64_t bytes = input_bytes();
  if (bytes == 0 && total == 0) return text;
  double share = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 0;
  if (bytes > 0) {
    const auto line_bytes = static_cast<double>(input_.bytes_done() - line_begins_);
    const double read = static_cast<double>(line_begins_) + share * line_bytes;
    share = read / static_cast<double>(bytes);
  }
  const auto millionths = static_cast<std::uint64_t>(share * whole);
  text += fmt::format(": {}%", millionths * 100 / whole);
  // The time left is that of the input, which is unknown without a length, or of a typed line.
  const bool has_time = options_.is_dialogue || bytes > 0;
  const std::string left = has_time ? time_left(millionths, whole, seconds) : "";
  return left.empty() ? text : text + fmt::format(", {} left", left);
}

}  // namespace era
