// SPDX-License-Identifier: GPL-3.0-or-later
// The place that a backup is written to: a file, a block device, or what an NBD server exports.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace era {

struct backup_write {
  std::size_t tag;                  // comes back from wait(); no two writes under way have the same
  std::uint64_t offset;             // in bytes
  std::span<const std::byte> data;  // must live, unchanged, until wait() returns the tag
  bool is_zero;                     // all of data is zeros: the target may write them as it likes
};

// For one thread. Every function throws device_error if the target fails. After that, wait() may
// still be called, once for each write under way, and nothing else.
class backup_target {
 public:
  // Waits for the writes under way, or gives them up: nothing reads the caller's memory after it.
  virtual ~backup_target() = default;

  // For messages.
  virtual const std::string& name() const noexcept = 0;

  // In bytes.
  virtual std::uint64_t size() const noexcept = 0;

  // Bytes from the beginning on, at most size(), that were a backup before it was opened.
  virtual std::uint64_t held_bytes() const noexcept = 0;

  // Returns true if all bytes of [offset, offset + bytes) read as zeros now, and nothing has to be
  // written for that. Returns false if that is not known.
  virtual bool reads_as_zeros(std::uint64_t offset, std::uint64_t bytes) = 0;

  // Writes that are worth having under way at once; start must not be called with more.
  virtual std::size_t depth() const noexcept = 0;
  virtual void start(const backup_write&) = 0;
  // Waits for any write that was started, and returns its tag. At least one must be under way. A
  // write that fails is under way no more.
  virtual std::size_t wait() = 0;

  // Makes everything durable. No write may be under way.
  virtual void flush() = 0;

  // Makes everything up to size() held_bytes() of the next time, durably. Requires flush(), and
  // that whatever is not in the backup is noted elsewhere. Throws device_error; the next
  // held_bytes() may then be those of this time.
  virtual void end_growth() {}

  // Reads back what was written, from the device if possible and not from a cache. No write may be
  // under way.
  virtual void read(std::uint64_t offset, std::span<std::byte> to) = 0;
};

}  // namespace era
