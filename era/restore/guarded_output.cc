// SPDX-License-Identifier: GPL-3.0-or-later
// What happens to the superblock, and when.
#include "era/restore/guarded_output.h"

#include <cassert>
#include <exception>
#include <utility>

namespace era {

guarded_output::guarded_output(output_target target)
    : target_(std::move(target)), queue_(target_.make_queue()) {}

void guarded_output::write_superblock(const pd::block& b) {
  queue_->write(superblock_location, b);
  queue_->drain_and_flush();
}

void guarded_output::wipe() {
  assert(stage_ == stage::untouched);
  stage_ = stage::wiping;
  write_superblock(pd::block{});
  stage_ = stage::wiped;
}

void guarded_output::finish(pd::block& superblock) {
  assert(stage_ == stage::wiped);
  queue_->drain_and_flush();
  pd::seal(superblock_kind, superblock, superblock_location);
  stage_ = stage::finishing;
  write_superblock(superblock);
}

remains guarded_output::abandon() noexcept {
  switch (stage_) {
    case stage::untouched: return remains::as_before;
    case stage::wiping: return remains::perhaps_wiped;
    case stage::wiped: return remains::unformatted;
    case stage::finishing: break;
  }
  // The new superblock may be on the device, or may still get there. The failed queue first waits
  // for what is under way.
  try {
    queue_.reset();
    queue_ = target_.make_queue();
    write_superblock(pd::block{});
    return remains::unformatted;
  } catch (const std::exception&) {
    return remains::perhaps_complete;
  }
}

}  // namespace era
