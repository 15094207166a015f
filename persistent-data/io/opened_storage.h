// SPDX-License-Identifier: GPL-3.0-or-later
// A regular file or a block device, opened, kept from others, and measured. All that holds metadata
// or data is opened here.
#pragma once

#include <cstdint>
#include <string>

#include "persistent-data/io/storage.h"
#include "persistent-data/io/unique_fd.h"

namespace persistent_data {

enum class access {
  shared,   // to read what does not change while others write: a metadata snapshot
  reading,  // nobody else may write meanwhile
  writing   // to read and write; nobody else may do either meanwhile
};

// Storage that is read and written through the page cache; all other is opened with O_DIRECT.
enum class page_cache {
  for_all,
  for_files,     // what a mapped device holds is written past the page cache, and so has to be read
  where_needed,  // regular files, if their file system knows no O_DIRECT
};

// Advice for messages; empty: none.
struct way_out {
  std::string if_missing = {};  // after "is not there; "
  std::string if_held = {};     // after "stop its user first"
};

class opened_storage {
 public:
  // Throws device_error, "PATH: ...": not there, no right, read-only, neither a block device nor a
  // regular file, open as standard error, or, unless access is shared, in use (see in_use.h). If it
  // is standard error, that becomes /dev/null, since messages would be written into it. Others are
  // kept away until this ends: a block device is opened with O_EXCL, and locks are taken.
  opened_storage(std::string path, access, page_cache, const way_out& = {});

  const std::string& path() const noexcept { return path_; }
  bool is_block_device() const noexcept { return is_block_device_; }
  // The size that it had when it was opened.
  std::uint64_t bytes() const noexcept { return bytes_; }
  // Owned by this.
  int descriptor() const noexcept { return fd_.get(); }

  // Returns true if writing to what is at path, or is open as fd, changes this one: it is the same,
  // or one lies on the other (see storage.h). Returns false if path is not there.
  bool overlaps(const std::string& path) const;
  bool overlaps(int fd) const;

  // Throws device_error, "PATH: WHY".
  [[noreturn]] void fail(const std::string& why) const;

 private:
  void open(access, page_cache, const way_out&);
  void require_other_standard_error() const;
  std::uint64_t measure() const;

  std::string path_;
  bool is_block_device_ = false;
  unique_fd fd_;
  std::uint64_t bytes_ = 0;
};

}  // namespace persistent_data
