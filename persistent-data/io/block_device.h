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

namespace persistent_data {

enum class access {
  exclusive,  // nobody else may write meanwhile: refused while the device is in use; see in_use.h
  shared      // for a metadata snapshot, which does not change while its device is live
};

class block_device {
 public:
  // Throws device_error: not there, not readable, neither a file nor a block device, smaller than a
  // block, or, if access is exclusive, in use. Exclusive access keeps writers away: a block device
  // is opened with O_EXCL, and claim_for_reading takes locks.
  block_device(std::string path, access, engine_choice = engine_choice::automatic,
               system_calls& = system_calls::real());
  ~block_device();
  block_device(const block_device&) = delete;
  block_device& operator=(const block_device&) = delete;

  const std::string& path() const noexcept { return path_; }

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

  // Returns true if writing to what is at path changes this one: it is the same, or one lies on the
  // other (see storage.h). Returns false if path is not there.
  bool is_same_file(const std::string& path) const;
  // The same for what is open as fd.
  bool is_same_file(int fd) const;

 private:
  void open(access);
  void measure();
  [[noreturn]] void fail(const std::string& why) const;

  std::string path_;
  engine_choice engine_;
  system_calls& calls_;  // of the engines
  int fd_ = -1;
  bool is_block_device_ = false;
  std::uint64_t nr_blocks_ = 0;
  std::function<void(std::uint64_t)> watcher_;
};

}  // namespace persistent_data
