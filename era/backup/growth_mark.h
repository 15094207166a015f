// SPDX-License-Identifier: GPL-3.0-or-later
// Marks a plain image that is being written, or enlarged.
//
// A file that is missing, was cut off, or is shorter than its source by now gets its full length
// before all of its new blocks are in it. If that ends early, its length must not pass for its
// content. So meanwhile it has a sector more, and that tells how much of it was there before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "persistent-data/format/block.h"
#include "persistent-data/io/system_calls.h"

namespace era {

namespace pd = persistent_data;

inline constexpr std::size_t growth_mark_bytes = pd::sector_size;

// All in bytes.
struct plain_image_size {
  std::uint64_t bytes = 0;       // of the image, without a mark
  std::uint64_t held_bytes = 0;  // how many of them, from the first on, are a backup
  bool is_marked = false;
};

// Measures an open file of this length. path: for messages. Throws device_error if the sector in
// which a mark would be cannot be read: then nobody knows what the file holds.
plain_image_size measure_plain_image(int fd, const std::string& path, std::uint64_t file_bytes,
                                     pd::system_calls&);

// Measures the file or block device at path; a device has no mark. Throws device_error.
plain_image_size measure_plain_image(const std::string& path);

// Writes a mark after the bytes of the image, and makes it durable. The mark overwrites whatever
// the file has there; the file keeps what follows. Returns 0 or an errno.
int put_growth_mark(int fd, const plain_image_size&, pd::system_calls&);

}  // namespace era
