// SPDX-License-Identifier: GPL-3.0-or-later
// A file or block device that holds data and no metadata: the source of a backup, or its raw
// target.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "persistent-data/io/io_engine.h"
#include "persistent-data/io/opened_storage.h"

namespace era {

namespace pd = persistent_data;

class data_device {
 public:
  // Throws device_error: as opened_storage, or not a whole number of sectors.
  data_device(std::string path, pd::access, pd::system_calls& = pd::system_calls::real());

  const std::string& path() const noexcept { return opened_.path(); }
  bool is_block_device() const noexcept { return opened_.is_block_device(); }
  std::uint64_t bytes() const noexcept { return bytes_; }
  // Owned by this; a block device is open with O_DIRECT, unless write_through_cache was called.
  int descriptor() const noexcept { return opened_.descriptor(); }

  // A fresh engine for one thread, io_uring or aio for block devices; it must not outlive this.
  std::unique_ptr<pd::io_engine> make_engine() const;

  // A longer file reads as zeros at its new end; a shorter one loses what it had there. Requires a
  // regular file that is open for writing. Throws device_error.
  void resize(std::uint64_t bytes);

  // The size of the device's own sectors: direct I/O takes no less. 1 for a file.
  std::uint64_t sector_bytes() const;
  // Leaves O_DIRECT, for data that ends within a sector. Requires a block device.
  void write_through_cache();

  // Returns true if writing to what is at path changes this one; see opened_storage.
  bool overlaps(const std::string& path) const { return opened_.overlaps(path); }

  // Throws device_error, "PATH: WHY".
  [[noreturn]] void fail(const std::string& why) const { opened_.fail(why); }

 private:
  pd::opened_storage opened_;
  pd::system_calls& calls_;
  std::uint64_t bytes_;
};

}  // namespace era
