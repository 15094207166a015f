// SPDX-License-Identifier: GPL-3.0-or-later
// For tests: system calls that read the first block of a device while it is being written.
#pragma once

#include <cstring>

#include "persistent-data/format/block.h"
#include "persistent-data/io/system_calls.h"

namespace persistent_data::test {

class torn_reads final : public system_calls {
 public:
  int torn = 0;   // the number of next reads of block 0 that find half of it written
  int reads = 0;  // of block 0

  ssize_t pread(int fd, void* to, std::size_t bytes, off_t offset) override {
    const ssize_t got = system_calls::pread(fd, to, bytes, offset);
    if (offset != 0 || got < static_cast<ssize_t>(block_size)) return got;
    ++reads;
    if (torn == 0) return got;
    --torn;
    // The new content has arrived up to here.
    std::memset(static_cast<std::byte*>(to) + 200, 0, block_size - 200);
    return got;
  }
};

}  // namespace persistent_data::test
