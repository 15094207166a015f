// SPDX-License-Identifier: GPL-3.0-or-later
// See simulation.h.
#include "era/sim/simulation.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

namespace era::sim {
namespace {

constexpr std::uint64_t sectors_per_page = 8;
// Between two writes the kernel's worker gets about so far.
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
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), result.count);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (unit == "s")
    result.counted = era_length::unit::seconds;
  else if (unit == "writes")
    result.counted = era_length::unit::writes;
  else if (unit == "blocks")
    result.counted = era_length::unit::blocks;
  if (error != std::errc() || result.count == 0 ||
      (unit != "s" && unit != "writes" && unit != "blocks"))
    throw bad_command(
        fmt::format("'{}' is no length of an era; expected: 60s, 1000writes or 500blocks", text));
  return result;
}

simulation::simulation(pd::block_store& metadata, origin_device& origin,
                       const target::geometry& geometry, simulation_surroundings around,
                       digestion how, std::function<void(std::string_view)> out)
    : target_(metadata, origin, geometry),
      around_(std::move(around)),
      digestion_(how),
      out_(std::move(out)),
      block_size_(geometry.block_size),
      length_(geometry.length) {
  require_in_origin(length_);
  target_.resume();
}

void simulation::require_in_origin(std::uint64_t length) const {
  if (around_.most && length > *around_.most)
    throw refused(fmt::format("{}: the origin has {} sectors, and the device would have {}",
                              around_.origin, *around_.most, length));
}

// All of a command or nothing: it may be written in pieces.
void simulation::require_in_device(std::uint64_t sector, std::uint64_t count) const {
  if (count > length_ || sector > length_ - count)
    throw refused(fmt::format("sectors {} to {} are past the end of the device, which has {}",
                              sector, sector + count, length_));
}

bool simulation::run(const command& c) {
  switch (c.what) {
    case verb::write: write(c.sector, c.count); break;
    case verb::random_writes: random_writes(c); break;
    case verb::sequential_writes: sequential_writes(c); break;
    case verb::discard:
      target_.discard(c.sector, c.count);
      ++writes_;
      break;
    case verb::flush: target_.flush(); break;
    case verb::message: target_.message(c.text); break;
    case verb::status: print_status(); return true;
    case verb::table:
      out_(fmt::format("0 {} era {}\n", length_,
                       target_.table_line(around_.metadata, around_.origin)));
      break;
    case verb::suspend: target_.suspend(); break;
    case verb::resume:
      if (new_length_ && !target_.is_resumed()) {
        target_.set_length(*new_length_);
        length_ = *new_length_;
        new_length_.reset();
      }
      target_.resume();
      break;
    case verb::reload:
      require_in_origin(c.count);
      new_length_ = c.count;
      break;
    case verb::digest: digest(c.count); return true;
    case verb::crash: return false;
    case verb::help: out_(help()); break;
  }
  digest_in_background();
  return true;
}

void simulation::print_status() {
  out_(fmt::format("0 {} era {}\n", length_, target_.status_line()));
}

void simulation::write(std::uint64_t sector, std::uint64_t count) {
  require_in_device(sector, count);
  // What is written does not matter, and where it came from can be seen.
  constexpr std::uint64_t most = 2048;
  for (std::uint64_t done = 0; done < count; done += most) {
    around_.step();
    const std::uint64_t now = std::min(most, count - done);
    data_.resize(std::max<std::size_t>(data_.size(), now * 512));
    for (std::uint64_t i = 0; i < now * 64; ++i) {
      const pd::le64 mark = sector + done + i / 64;
      std::memcpy(&data_[i * 8], &mark, sizeof mark);
    }
    target_.write(sector + done, now, data_.data());
  }
  ++writes_;
}

void simulation::write_page(std::uint64_t block) {
  const std::uint64_t sector = block * block_size_;
  write(sector, std::min(sectors_per_page, length_ - std::min(length_, sector)));
  digest_in_background();
}

void simulation::random_writes(const command& c) {
  const std::uint64_t end = target_.nr_blocks();
  const std::uint64_t last = c.last == command::none ? end - 1 : c.last;
  if (end == 0 || last >= end)
    throw refused(fmt::format("block {} is past the end; the device has {}", last, end));
  std::uint64_t x = c.seed;
  for (std::uint64_t i = 0; i < c.count; ++i)
    write_page(c.first + next_random(x) % (last - c.first + 1));
}

void simulation::sequential_writes(const command& c) {
  const std::uint64_t end = target_.nr_blocks();
  if (c.first > end || c.count > end - c.first)
    throw refused(fmt::format("blocks {} to {} are past the end; the device has {}", c.first,
                              c.first + c.count, end));
  for (std::uint64_t i = 0; i < c.count; ++i) write_page(c.first + i);
}

// In parts: what one frees, when it is committed, may be what the next needs.
void simulation::digest(std::uint64_t steps) {
  constexpr std::uint64_t part = 64;
  for (std::uint64_t done = 0; done < steps;) {
    around_.step();
    const std::uint64_t wanted = std::min(part, steps - done);
    std::uint64_t now = 0;
    try {
      now = target_.digest(wanted);
    } catch (const pd::no_space&) {
      target_.status();
      now = target_.digest(1);
      target_.status();
    }
    if (now == 0) return;
    done += now;
  }
}

// Runs out of space only until the next commit frees what it has replaced.
void simulation::digest_in_background() {
  if (digestion_ == digestion::manual) return;
  try {
    target_.digest(background_steps);
  } catch (const pd::no_space&) {
  }
}

void simulation::replay(const traced_request& r, const era_length& length) {
  end_era_if_due(length, r.seconds);
  switch (r.what) {
    case traced_request::kind::write: write(r.sector, r.count); break;
    case traced_request::kind::discard:
      target_.discard(r.sector, r.count);
      ++writes_;
      break;
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
  era_began_ +=
      static_cast<double>(static_cast<std::uint64_t>((seconds - era_began_) / count)) * count;
}

void simulation::remove() { target_.suspend(); }

void simulation::leave() { target_.status(); }

std::string simulation::summary(double seconds) {
  const target_status s = target_.status();
  return fmt::format(
      "{} writes, {} commits, {} blocks marked, era {}, {} of {} metadata blocks used, {:.0f} "
      "writes/s",
      writes_, target_.nr_commits(), target_.nr_marked(), s.current_era, s.used, s.total,
      seconds > 0 ? static_cast<double>(writes_) / seconds : 0.0);
}

}  // namespace era::sim
