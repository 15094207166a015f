// SPDX-License-Identifier: GPL-3.0-or-later
// A file without a name, for what does not fit into memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace era {

class temp_file {
 public:
  // In the directory that TMPDIR names. This and all else throws std::runtime_error.
  temp_file();
  ~temp_file();
  temp_file(const temp_file&) = delete;
  temp_file& operator=(const temp_file&) = delete;

  // Returns where it begins.
  std::uint64_t append(std::span<const std::byte>);
  // By any number of threads at the same time.
  void read(std::uint64_t begin, std::span<std::byte>) const;

 private:
  int fd_;
  std::uint64_t size_ = 0;
};

}  // namespace era
