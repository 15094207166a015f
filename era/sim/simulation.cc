// SPDX-License-Identifier: GPL-3.0-or-later
// Turns commands and traced requests into calls of the target. After each write and most commands,
// automatic digestion takes a few steps, as the kernel's worker does in the background.
#include "era/sim/simulation.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "era/text/printable.h"
#include "era/text/range_text.h"
#include "era/text/words.h"
#include "persistent-data/format/errors.h"

namespace era::sim {
namespace {

constexpr std::uint64_t sectors_per_page = 8;
// The kernel's worker takes about this many steps between two writes.
constexpr std::uint64_t background_steps = 4;

std::uint64_t next_random(std::uint64_t& x) {  // xorshift64
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return x;
}

}  // namespace

era_length parse_era_length(std::string_view text) {
  era_length result;
  const leading_number number = parse_leading_number(text);
  const std::string_view unit = number.rest;
  result.count = number.value;
  if (unit == "s")
    result.counted = era_length::unit::seconds;
  else if (unit == "writes")
    result.counted = era_length::unit::writes;
  else if (unit == "blocks")
    result.counted = era_length::unit::blocks;
  const bool has_unit = unit == "s" || unit == "writes" || unit == "blocks";
  if (has_unit && number.status == number_status::too_large)
    throw pd::invalid_input(fmt::format("'{}' is too large a length of an era", printable(text)));
  if (!has_unit || result.count == 0)
    throw pd::invalid_input(fmt::format(
        "'{}' is no length of an era; expected: 60s, 1000writes or 500blocks", printable(text)));
  return result;
}

simulation::simulation(pd::block_store& metadata, origin_device& origin,
                       const target::geometry& geometry, simulation_options options)
    : options_(std::move(options)),
      metadata_(metadata, [this] { report_progress(); }),
      origin_(origin, [this] { report_progress(); }),
      target_(metadata_, origin_, accepted(geometry)),
      block_size_(geometry.block_size),
      length_(geometry.length) {
  target_.resume();
}

// Before the target formats anything.
const target::geometry& simulation::accepted(const target::geometry& geometry) const {
  require_in_origin(geometry.length);
  return geometry;
}

void simulation::require_in_origin(std::uint64_t length) const {
  if (options_.origin_sectors && length > *options_.origin_sectors)
    throw pd::invalid_input(
        fmt::format("{}: the origin has {} sectors, and the device would have {}", options_.origin,
                    *options_.origin_sectors, length));
}

// All of a command or nothing.
void simulation::require_in_device(std::uint64_t sector, std::uint64_t count) const {
  if (count > length_ || sector > length_ - count)
    throw pd::invalid_input(
        fmt::format("{} from sector {} would be past the end of the device, which has {}",
                    counted(count, "sector"), sector, length_));
}

// --- Commands

bool simulation::run(const command& c) {
  before_ = count();
  done_ = total_ = 0;
  return run_command(c);
}

bool simulation::run_command(const command& c) {
  switch (c.what) {
    case verb::write: write(c.sector, c.count); break;
    case verb::random_writes: random_writes(c); break;
    case verb::sequential_writes: sequential_writes(c); break;
    case verb::discard: discard(c.sector, c.count); break;
    case verb::flush: target_.flush(); break;
    case verb::message: target_.message(c.text); break;
    case verb::status:
      print(fmt::format("0 {} era {}\n", length_, target_.status_line()));
      return true;
    case verb::table:
      print(fmt::format("0 {} era {}\n", length_,
                        target_.table_line(options_.metadata, options_.origin)));
      break;
    case verb::suspend: target_.suspend(); break;
    case verb::resume: resume(); break;
    case verb::reload:
      require_in_origin(c.count);
      new_length_ = c.count;
      break;
    case verb::digest: digest(c.count); return true;
    case verb::crash: return false;
    case verb::quit: return true;
    case verb::help: print(help()); break;
  }
  digest_in_background();
  return true;
}

void simulation::print(std::string_view text) {
  ++printed_;
  options_.out(text);
}

void simulation::resume() {
  if (new_length_ && !target_.is_resumed()) {
    target_.set_length(*new_length_);
    length_ = *new_length_;
    new_length_.reset();
  }
  target_.resume();
}

void simulation::write(std::uint64_t sector, std::uint64_t count) {
  require_in_device(sector, count);
  target_.write(sector, count, [&] { write_data(sector, count); });
  ++writes_;
}

// Each 8 bytes hold the number of their sector, which shows where data came from.
void simulation::write_data(std::uint64_t sector, std::uint64_t count) {
  constexpr std::uint64_t longest = 2048;
  if (!options_.origin_sectors) return;
  if (count > longest) total_ = count;
  for (std::uint64_t done = 0; done < count; done += longest) {
    if (count > longest) done_ = done;
    report_progress();
    const std::uint64_t now = std::min(longest, count - done);
    data_.resize(std::max<std::size_t>(data_.size(), now * pd::sector_size));
    for (std::uint64_t i = 0; i < now * 64; ++i) {
      const pd::le64 mark = sector + done + i / 64;
      std::memcpy(&data_[i * 8], &mark, sizeof mark);
    }
    origin_.write(sector + done, now, data_.data());
  }
}

// One page into each block, group by group.
void simulation::write_pages(std::uint64_t count,
                             const std::function<std::uint64_t()>& next_block) {
  total_ = count;
  for (done_ = 0; done_ < count;) {
    group_.clear();
    for (std::uint64_t n = std::min(options_.group, count - done_); n > 0; --n) {
      const std::uint64_t sector = next_block() * block_size_;
      group_.push_back({sector, std::min(sectors_per_page, length_ - std::min(length_, sector))});
      require_in_device(group_.back().sector, group_.back().count);
    }
    report_progress();
    target_.write_together(group_, [&](std::size_t i) {
      write_data(group_[i].sector, group_[i].count);
      ++writes_;
      ++done_;
    });
    digest_in_background();
  }
}

void simulation::discard(std::uint64_t sector, std::uint64_t count) {
  require_in_device(sector, count);
  target_.discard(sector, count);
  ++writes_;
}

void simulation::random_writes(const command& c) {
  const std::uint64_t end = target_.nr_blocks();
  const std::uint64_t last = c.last == command::none ? end - 1 : c.last;
  if (end == 0 || last >= end)
    throw pd::invalid_input(fmt::format("block {} is past the end; the device has {}", last, end));
  write_pages(c.count, [&, x = c.seed]() mutable {
    return c.first + next_random(x) % (last - c.first + 1);
  });
}

void simulation::sequential_writes(const command& c) {
  const std::uint64_t end = target_.nr_blocks();
  if (c.first > end || c.count > end - c.first)
    throw pd::invalid_input(fmt::format("{} from block {} would be past the end; the device has {}",
                                        counted(c.count, "block"), c.first, end));
  write_pages(c.count, [next = c.first]() mutable { return next++; });
}

// --- Digestion

// Commits after each part, since a commit frees what the part has replaced. A last part that is
// shorter is left to the next commit, as the kernel leaves it. If a part does not fit, the target
// has given it up: half of it is tried.
void simulation::digest(std::uint64_t steps) {
  if (!target_.is_resumed()) throw pd::invalid_input("the device is suspended");
  std::uint64_t part = 64;
  total_ = steps == command::none ? 0 : steps;
  for (done_ = 0; done_ < steps;) {
    report_progress();
    const std::uint64_t wanted = std::min(part, steps - done_);
    std::uint64_t now = 0;
    try {
      now = wanted < part ? target_.digest(wanted) : target_.digest_and_commit(wanted);
    } catch (const pd::no_space& e) {
      if (part == 1)
        throw pd::no_space(fmt::format("{} digested, and the next one does not fit: {}",
                                       counted(done_, "step"), e.what()));
      part = std::max<std::uint64_t>(wanted / 2, 1);
      continue;
    }
    done_ += now;
    digested_ += now;
    if (now < wanted) return;
  }
}

// If it does not fit, the next commit may free what is missing.
void simulation::digest_in_background() {
  if (options_.digestion == digestion_mode::manual) return;
  try {
    digested_ += target_.digest(background_steps);
  } catch (const pd::no_space&) {
  }
}

// --- Traces

void simulation::replay(const traced_request& r, const era_length& length) {
  done_ = total_ = 0;
  report_progress();
  end_era_if_due(length, r.seconds);
  if (r.flushes_first) target_.flush();
  switch (r.what) {
    case traced_request::kind::write: write(r.sector, r.count); break;
    case traced_request::kind::discard: discard(r.sector, r.count); break;
    case traced_request::kind::flush: target_.flush(); break;
  }
  digest_in_background();
}

void simulation::end_era_if_due(const era_length& length, double seconds) {
  if (length.count == 0) return;
  const auto count = static_cast<double>(length.count);
  const bool due = length.counted == era_length::unit::seconds ? seconds - era_began_ >= count
                   : length.counted == era_length::unit::writes
                       ? writes_ - writes_before_ >= length.count
                       : target_.nr_marked() - marked_before_ >= length.count;
  if (!due) return;
  target_.message("checkpoint");
  writes_before_ = writes_;
  marked_before_ = target_.nr_marked();
  // Quiet times end no eras of their own.
  era_began_ += std::floor((seconds - era_began_) / count) * count;
}

// --- Ends and reports

void simulation::remove() { target_.suspend(); }

void simulation::leave() { target_.status(); }

simulation::counters simulation::count() const {
  return {target_.nr_marked(), target_.nr_commits(), digested_, printed_};
}

std::string simulation::answer() const {
  const counters now = count();
  if (now.printed != before_.printed) return "";
  std::string text =
      target_.is_resumed() ? fmt::format("ok: era {}", target_.current_era()) : "ok: suspended";
  text += fmt::format(", {} marked", counted(now.marked - before_.marked, "block"));
  if (now.digested != before_.digested)
    text += fmt::format(", {} digested", counted(now.digested - before_.digested, "step"));
  return text + fmt::format(", {}\n", counted(now.commits - before_.commits, "commit"));
}

std::string simulation::summary(double seconds) {
  const target_status s = target_.status();
  return fmt::format(
      "{} writes, {} commits, {} blocks marked, era {}, {} of {} metadata blocks used, {:.0f} "
      "writes/s",
      writes_, target_.nr_commits(), target_.nr_marked(), s.current_era, s.used, s.total,
      seconds > 0 ? static_cast<double>(writes_) / seconds : 0.0);
}

}  // namespace era::sim
