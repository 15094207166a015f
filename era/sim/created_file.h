// SPDX-License-Identifier: GPL-3.0-or-later
// A new file that goes away unless the work on it begins.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace era::sim {

class created_file {
 public:
  // Creates the file, of zeros. Throws device_error if it exists, or cannot be created, or cannot
  // have this size; then no new file is left.
  created_file(std::string path, std::uint64_t bytes);
  // Removes the file unless it is to be kept, or another file has its name.
  ~created_file();
  created_file(const created_file&) = delete;
  created_file& operator=(const created_file&) = delete;

  void keep() noexcept { kept_ = true; }
  bool is_kept() const noexcept { return kept_; }

 private:
  void remove() const noexcept;

  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  bool kept_ = false;
};

}  // namespace era::sim
