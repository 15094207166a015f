// SPDX-License-Identifier: GPL-3.0-or-later
// How a transfer goes on after a call that did not do all of it. With O_DIRECT a device transfers
// whole sectors, to and from sector boundaries.
#pragma once

#include <cstddef>
#include <cstdint>

#include "persistent-data/format/block.h"

namespace persistent_data {

// Moves `done`, the bytes of a request that are transferred, forward by the result of the call that
// went on from there: bytes, or -errno. The next call goes on at `done`: in a request of whole
// sectors a sector boundary, so that each call is worth a sector, and even a device that is always
// short gets done. Returns 0, or the errno that ends the transfer: at_end if nothing was gained.
inline int continue_transfer(std::size_t& done, std::size_t bytes, std::int64_t result,
                             int at_end) noexcept {
  if (result < 0) return static_cast<int>(-result);
  const std::size_t unit = bytes % sector_size == 0 ? sector_size : 1;
  const std::size_t now = done + static_cast<std::size_t>(result);
  const std::size_t next = now >= bytes ? bytes : now / unit * unit;
  if (next == done) return at_end;
  done = next;
  return 0;
}

}  // namespace persistent_data
