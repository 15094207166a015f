// SPDX-License-Identifier: GPL-3.0-or-later
// The thread that finds an update due moves the due time with one compare-and-exchange and prints;
// the others return at once. A shorter line is padded with spaces over the longer one before it.
#include "era/commands/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include <fmt/format.h>

namespace era {

namespace {

constexpr std::chrono::milliseconds first_after{1000}, next_after{200};

std::string in_words(std::uint64_t seconds) {
  if (seconds < 3600) return fmt::format("{}:{:02}", seconds / 60, seconds % 60);
  return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

}  // namespace

progress::progress(std::string name, std::optional<std::uint64_t> total, sink to,
                   clock::time_point start)
    : name_(std::move(name)),
      total_(total),
      to_(std::move(to)),
      start_(start),
      next_(start + first_after) {}

void progress::update(std::uint64_t done, clock::time_point now) {
  update([&](double seconds) { return line(done, seconds); }, now);
}

void progress::update(const std::function<std::string(double)>& text, clock::time_point now) {
  auto due = next_.load(std::memory_order_relaxed);
  // One thread prints, and the others go on.
  if (!to_ || now < due || !next_.compare_exchange_strong(due, now + next_after)) return;
  const std::lock_guard lock(printing_);
  show(text(std::chrono::duration<double>(now - start_).count()));
}

void progress::show(std::string text) {
  const std::size_t size = text.size();
  if (size < shown_) text.append(shown_ - size, ' ');
  to_('\r' + text);
  shown_ = std::max(size, shown_);
}

std::string progress::line(std::uint64_t done, double seconds) const {
  const double mebibytes_per_second = static_cast<double>(done) / seconds / (1 << 20);
  if (!total_ || *total_ == 0)
    return fmt::format("{}: {} MiB, {:.0f} MiB/s", name_, done >> 20, mebibytes_per_second);
  std::string text = fmt::format("{}: {}%, {:.0f} MiB/s", name_,
                                 std::min(done, *total_) * 100 / *total_, mebibytes_per_second);
  if (const std::string left = time_left(done, *total_, seconds); !left.empty())
    text += fmt::format(", {} left", left);
  return text;
}

void progress::clear() {
  const std::lock_guard lock(printing_);
  if (shown_ > 0) to_('\r' + std::string(shown_, ' ') + '\r');
  shown_ = 0;
}

std::string time_left(std::uint64_t done, std::uint64_t total, double seconds) {
  if (done == 0) return "";
  const double rate = static_cast<double>(done) / seconds;
  const auto rest = static_cast<double>(total - std::min(done, total));
  return in_words(static_cast<std::uint64_t>(rest / rate + 1));
}

progress::sink progress_on_terminal() {
  if (::isatty(STDERR_FILENO) == 0) return {};
  return [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); };
}

}  // namespace era
