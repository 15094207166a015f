// SPDX-License-Identifier: GPL-3.0-or-later
// Wipes the superblock first, and writes the new one last.
#include "era/metadata/atomic_metadata_output.h"

#include <cassert>
#include <exception>
#include <utility>

#include "persistent-data/io/read_queue.h"

namespace era {

atomic_metadata_output::atomic_metadata_output(output_target target)
    : target_(std::move(target)), queue_(target_.make_queue()) {}

void atomic_metadata_output::write_superblock(const pd::block& b) {
  queue_->write(superblock_location, b);
  queue_->drain_and_flush();
}

void atomic_metadata_output::wipe() {
  assert(stage_ == stage::untouched);
  auto before = std::make_unique<pd::block>();
  if (read_first_block(*before)) before_ = std::move(before);
  stage_ = stage::wiping;
  write_superblock(pd::block{});
  stage_ = stage::wiped;
}

bool atomic_metadata_output::read_first_block(pd::block& b) const {
  if (!target_.open_for_reading) return false;
  bool is_read = false;
  try {
    const auto device = target_.open_for_reading();
    pd::read_queue queue(device->make_engine(), device->nr_blocks());
    queue.read(std::span(&superblock_location, 1), [&](std::size_t, const pd::block* data, int) {
      is_read = data != nullptr;
      if (data) b = *data;
    });
  } catch (const std::exception&) {
    // It can be written all the same.
  }
  return is_read;
}

void atomic_metadata_output::finish(pd::block& superblock) {
  assert(stage_ == stage::wiped);
  queue_->drain_and_flush();
  pd::prepare_for_write(superblock_kind, superblock, superblock_location);
  stage_ = stage::finishing;
  write_superblock(superblock);
}

output_state atomic_metadata_output::abandon() noexcept {
  switch (stage_) {
    case stage::untouched: return output_state::as_before;
    case stage::wiping: break;
    case stage::wiped: return output_state::unformatted;
    case stage::finishing: break;
  }
  // Zeros, or the new superblock, may be on the device, or may still get there. The failed queue
  // first waits for what is under way.
  try {
    queue_.reset();
    if (stage_ == stage::wiping) {
      pd::block now;
      const bool same = before_ && read_first_block(now) && now.bytes == before_->bytes;
      return same ? output_state::as_before : output_state::perhaps_wiped;
    }
    queue_ = target_.make_queue();
    write_superblock(pd::block{});
    return output_state::unformatted;
  } catch (const std::exception&) {
    return output_state::perhaps_complete;
  }
}

}  // namespace era
