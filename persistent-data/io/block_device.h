// SPDX-License-Identifier: GPL-3.0-or-later
// The metadata device: a regular file or a block device, opened for reading.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "persistent-data/format/block.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/io_engine.h"
#include "persistent-data/io/opened_storage.h"

namespace persistent_data {

class block_device {
 public:
  // access: shared or reading. Throws device_error: as opened_storage, or smaller than a block.
  block_device(std::string path, access, engine_choice = engine_choice::automatic,
               system_calls& = system_calls::real());
  block_device(const block_device&) = delete;
  block_device& operator=(const block_device&) = delete;

  const std::string& path() const noexcept { return opened_.path(); }

  // Whole blocks on the device; at least 1. Metadata uses at most max_metadata_blocks of them.
  std::uint64_t nr_blocks() const noexcept { return nr_blocks_; }

  // A fresh engine for one thread; it must not outlive the device. See make_engine() for what
  // happens if the system does not grant one.
  std::unique_ptr<io_engine> make_engine() const;

  // From now on, engines call this with the bytes of each request that they have completed, in the
  // thread that waits for it. Engines that were made before do not. An empty function ends it; no
  // engine may be under way then.
  void watch(std::function<void(std::uint64_t bytes)> read) { watcher_ = std::move(read); }

  // Threads that reading with one engine each keeps busy.
  unsigned nr_workers() const noexcept;

  // Returns true if writing to what is at path, or is open as fd, changes this one; see
  // opened_storage.
  bool overlaps(const std::string& path) const { return opened_.overlaps(path); }
  bool overlaps(int fd) const { return opened_.overlaps(fd); }

 private:
  opened_storage opened_;
  engine_choice engine_;
  system_calls& calls_;  // of the engines
  std::uint64_t nr_blocks_;
  std::function<void(std::uint64_t)> watcher_;
};

}  // namespace persistent_data
