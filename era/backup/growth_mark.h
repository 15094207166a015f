// SPDX-License-Identifier: GPL-3.0-or-later
// Marks a plain image that is being enlarged.
//
// A file that was cut off, or is shorter than its source by now, gets its full length before all of
// its new blocks are in it. If that ends early, its length must not pass for its content. So
// meanwhile it has a sector more, and that tells how much was there before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "persistent-data/format/block.h"
#include "persistent-data/io/system_calls.h"

namespace era {

namespace pd = persistent_data;

inline constexpr std::size_t growth_mark_bytes = pd::sector_size;

// Returns how many bytes the image held before it was enlarged; nullopt if it has no mark.
// file_bytes: the length of the file.
std::optional<std::uint64_t> find_growth_mark(int fd, std::uint64_t file_bytes, pd::system_calls&);

// Writes the mark behind the first `bytes` of the file, where the file then ends, and makes it
// durable. The file must not be longer. Returns 0 or an errno.
int put_growth_mark(int fd, std::uint64_t bytes, std::uint64_t held_bytes, pd::system_calls&);

}  // namespace era
