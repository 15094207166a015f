// SPDX-License-Identifier: GPL-3.0-or-later
// How far a long job is, on one line of a terminal.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace era {

// For any number of threads at the same time.
class progress {
 public:
  using clock = std::chrono::steady_clock;
  using sink = std::function<void(std::string_view)>;

  // to: shows text at once; empty: nothing is to be shown. total: bytes, if that is known.
  progress(std::string name, std::optional<std::uint64_t> total, sink to,
           clock::time_point start = clock::now());
  // The line goes away.
  ~progress() { clear(); }
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;

  // Replaces the total, for a job whose size becomes known on the way. For one thread.
  void set_total(std::uint64_t total) noexcept { total_ = total; }

  // Shows nothing in the first second, and then a few lines a second at most.
  void update(std::uint64_t done, clock::time_point now = clock::now());
  // The same, with text of the caller's own, which is asked for if it is time to show it.
  void update(const std::function<std::string(double seconds)>& text,
              clock::time_point now = clock::now());
  // Before anything else is printed.
  void clear();

 private:
  void show(std::string text);  // printing_ is held
  std::string line(std::uint64_t done, double seconds) const;

  std::string name_;
  std::optional<std::uint64_t> total_;
  sink to_;
  const clock::time_point start_;
  std::atomic<clock::time_point> next_;
  std::mutex printing_;    // for what follows
  std::size_t shown_ = 0;  // characters on the line
};

// "1:05" or "1:00:05": the time that is left, if the rate so far stays; empty if it is not known.
std::string time_left(std::uint64_t done, std::uint64_t total, double seconds);

// Standard error if that is a terminal, else nothing.
progress::sink progress_on_terminal();

}  // namespace era
