// SPDX-License-Identifier: GPL-3.0-or-later
// A file without a name, for what does not fit into memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "persistent-data/io/unique_fd.h"

namespace persistent_data {

// Returns a file without a name in the directory that TMPDIR names, or else in /tmp, open for
// reading and writing. Throws device_error.
unique_fd make_unnamed_file();

// Throws device_error.
class temp_file {
 public:
  // Returns where it begins.
  std::uint64_t append(std::span<const std::byte>);
  // By any number of threads at the same time.
  void read(std::uint64_t begin, std::span<std::byte>) const;

 private:
  unique_fd fd_ = make_unnamed_file();
  std::uint64_t size_ = 0;
};

}  // namespace persistent_data
