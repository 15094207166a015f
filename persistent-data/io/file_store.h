// SPDX-License-Identifier: GPL-3.0-or-later
// A block store in an open file or block device.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "persistent-data/io/block_store.h"
#include "persistent-data/io/system_calls.h"

namespace persistent_data {

// fd stays the caller's and has to stay open. nr_blocks: as the caller knows it; the file is not
// measured. name: for messages. Interrupted and short transfers
// are continued; a transfer that gets nowhere is an error.
std::unique_ptr<block_store> make_file_store(int fd, std::string name, std::uint64_t nr_blocks,
                                             system_calls& = system_calls::real());

}  // namespace persistent_data
