// SPDX-License-Identifier: GPL-3.0-or-later
// Sorting, merging, and what to do about short reads and errors.
#include "persistent-data/io/read_queue.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <numeric>

#include "persistent-data/io/short_transfer.h"

namespace persistent_data {

namespace {
constexpr std::size_t blocks_per_request = 32;
}

// Neighbouring blocks that are read by one request: order_[begin, end), without repetitions
// [first, first + blocks).
struct read_queue::run {
  std::size_t begin = 0, end = 0;
  block_nr first;
  std::size_t blocks = 0;
};

read_queue::read_queue(std::unique_ptr<io_engine> engine, std::uint64_t nr_blocks,
                       std::unique_ptr<io_engine> ahead)
    // One slot more than the depth, for the single reads after an error.
    : buffers_(new block[(engine->depth() + 1) * blocks_per_request]),
      engine_(std::move(engine)),
      nr_blocks_(nr_blocks),
      under_way_(engine_->depth()),
      free_slots_(engine_->depth()) {
  std::iota(free_slots_.begin(), free_slots_.end(), std::size_t{0});
  if (ahead) ahead_.emplace(std::move(ahead), nr_blocks);
}

read_queue::~read_queue() = default;

block* read_queue::buffer(std::size_t slot) const noexcept {
  return &buffers_[slot * blocks_per_request];
}

void read_queue::read(std::span<const block_nr> wanted, const arrival& arrived) {
  wanted_ = wanted;
  order_.resize(wanted.size());
  std::iota(order_.begin(), order_.end(), std::size_t{0});
  const auto number = [&](std::size_t i) { return wanted[order_[i]].value; };
  if (!std::is_sorted(wanted.begin(), wanted.end()))
    std::stable_sort(order_.begin(), order_.end(),
                     [&](std::size_t a, std::size_t b) { return wanted[a] < wanted[b]; });
  if (ahead_) take_prefetched(arrived);

  const auto wait = [&] {
    const io_completion done = engine_->wait();
    finish(done.tag, done.result, arrived);
  };
  std::size_t next = 0;
  while (next < order_.size() && number(next) < nr_blocks_) {
    run merged{next, next + 1, {number(next)}, 1};
    while (merged.end < order_.size()) {
      const std::uint64_t distance = number(merged.end) - merged.first.value;
      if (distance > merged.blocks || distance >= blocks_per_request ||
          number(merged.end) >= nr_blocks_)
        break;
      merged.blocks = distance + 1;
      ++merged.end;
    }
    next = merged.end;
    if (free_slots_.empty()) wait();
    const std::size_t slot = free_slots_.back();
    free_slots_.pop_back();
    start(slot, merged);
  }
  while (free_slots_.size() < engine_->depth()) wait();
  for (; next < order_.size(); ++next) arrived(order_[next], nullptr, ENODATA);
}

void read_queue::prefetch(std::span<const block_nr> soon) {
  if (ahead_) ahead_->prefetch(soon);
}

void read_queue::take_prefetched(const arrival& arrived) {
  std::size_t left = 0;
  for (const std::size_t index : order_)
    if (const block* found = ahead_->find(wanted_[index]))
      arrived(index, found, 0);
    else
      order_[left++] = index;
  order_.resize(left);
}

void read_queue::start(std::size_t slot, run merged) {
  under_way_[slot] = merged;
  engine_->submit({reinterpret_cast<std::byte*>(buffer(slot)), merged.blocks * block_size,
                   merged.first.value * block_size, slot});
}

void read_queue::finish(std::size_t slot, std::int64_t result, const arrival& arrived) {
  run rest = under_way_[slot];
  const std::size_t whole =
      result < 0 ? 0 : std::min(static_cast<std::size_t>(result) / block_size, rest.blocks);
  for (; rest.begin < rest.end; ++rest.begin) {
    const std::size_t i = wanted_[order_[rest.begin]].value - rest.first.value;
    if (i >= whole) break;
    arrived(order_[rest.begin], buffer(slot) + i, 0);
  }
  free_slots_.push_back(slot);
  // One bad sector fails a large read, and an interrupted one is short: each block has its own try.
  if (rest.begin < rest.end) read_singly(rest, arrived);
}

void read_queue::read_singly(const run& rest, const arrival& arrived) {
  // The engine may be full of other requests: these go one at a time, after them.
  while (free_slots_.size() < engine_->depth()) {
    const io_completion done = engine_->wait();
    finish(done.tag, done.result, arrived);
  }
  block* const spare = buffer(engine_->depth());
  for (std::size_t i = rest.begin; i < rest.end; ++i) {
    const int error = read_block(wanted_[order_[i]], spare);
    arrived(order_[i], error == 0 ? spare : nullptr, error);
  }
}

int read_queue::read_block(block_nr where, block* to) {
  int error = 0;
  for (std::size_t done = 0; done < block_size && error == 0;) {
    engine_->submit(
        {to->bytes.data() + done, block_size - done, where.value * block_size + done, 0});
    error = continue_transfer(done, block_size, engine_->wait().result, ENODATA);
  }
  return error;
}

}  // namespace persistent_data
