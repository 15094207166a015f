// SPDX-License-Identifier: GPL-3.0-or-later
// Collecting, sending, and what to do about short writes.
#include "persistent-data/io/write_queue.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "persistent-data/format/errors.h"
#include "persistent-data/io/short_transfer.h"

namespace persistent_data {

namespace {
constexpr std::size_t blocks_per_request = 256;  // a MiB
}

write_queue::write_queue(std::unique_ptr<io_engine> engine, std::function<int()> flush,
                         std::string name)
    // One slot more than the depth: it is filled while the others are under way.
    : buffers_(new block[(engine->depth() + 1) * blocks_per_request]),
      engine_(std::move(engine)),
      flush_(std::move(flush)),
      name_(std::move(name)),
      runs_(engine_->depth() + 1),
      filling_(engine_->depth()) {
  for (std::size_t slot = 0; slot < engine_->depth(); ++slot) free_slots_.push_back(slot);
}

write_queue::~write_queue() = default;

block* write_queue::buffer(std::size_t slot) const noexcept {
  return &buffers_[slot * blocks_per_request];
}

void write_queue::fail(std::string why) {
  failure_ = fmt::format("{}: {}", name_, why);
  throw device_error(failure_);
}

void write_queue::require_no_failure() const {
  if (!failure_.empty()) throw device_error(failure_);
}

void write_queue::write(block_nr where, const block& b) {
  require_no_failure();
  run* filling = &runs_[filling_];
  const bool follows = where.value == filling->first.value + filling->blocks;
  if (filling->blocks > 0 && (!follows || filling->blocks == blocks_per_request)) {
    send();
    filling = &runs_[filling_];
  }
  if (filling->blocks == 0) filling->first = where;
  buffer(filling_)[filling->blocks++] = b;
}

void write_queue::drain_and_flush() {
  require_no_failure();
  if (runs_[filling_].blocks > 0) send();
  while (free_slots_.size() < engine_->depth()) wait();
  if (const int error = flush_())
    fail(fmt::format("cannot flush what was written: {}", std::strerror(error)));
}

void write_queue::send() {
  while (free_slots_.empty()) wait();
  submit(filling_);
  filling_ = free_slots_.back();
  free_slots_.pop_back();
  runs_[filling_] = {};
}

void write_queue::submit(std::size_t slot) {
  const run& p = runs_[slot];
  engine_->submit({reinterpret_cast<std::byte*>(buffer(slot)) + p.done,
                   p.blocks * block_size - p.done, p.first.value * block_size + p.done, slot,
                   io_operation::write});
}

// Comes back with a slot free or the rest of a short write on its way.
void write_queue::wait() {
  const io_completion completion = engine_->wait();
  run& written = runs_[completion.tag];
  const std::size_t bytes = written.blocks * block_size;
  const int error = continue_transfer(written.done, bytes, completion.result, ENOSPC);
  if (error == 0 && written.done < bytes) {
    submit(completion.tag);
    return;
  }
  free_slots_.push_back(completion.tag);
  if (error != 0)
    fail(fmt::format("metadata blocks {} to {} cannot be written: {}",
                     written.first.value + written.done / block_size,
                     written.first.value + written.blocks - 1, std::strerror(error)));
}

}  // namespace persistent_data
