// SPDX-License-Identifier: GPL-3.0-or-later
// A metadata device as a transaction sees it: single blocks, read and written in place.
#pragma once

#include <cstdint>
#include <string>

#include "persistent-data/format/block.h"

namespace persistent_data {

// For one thread. All throw device_error, with the device's name in the message. Blocks are below
// nr_blocks(): the caller sees to that.
class block_store {
 public:
  virtual ~block_store() = default;

  virtual const std::string& name() const noexcept = 0;
  virtual std::uint64_t nr_blocks() const noexcept = 0;

  virtual void read(block_nr, block&) = 0;
  // Written, in any order and perhaps not at all until a flush has returned.
  virtual void write(block_nr, const block&) = 0;
  virtual void flush() = 0;
};

}  // namespace persistent_data
