// SPDX-License-Identifier: GPL-3.0-or-later
// How a request gets to the device: one request in, one completion out. Short transfers and errors
// are handed on as they are; the queues deal with them, for all engines alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace persistent_data {

enum class io_operation { read, write };

struct io_request {
  std::byte* buffer;     // aligned to the block size; must live until the completion
  std::size_t bytes;     // a multiple of the block size
  std::uint64_t offset;  // likewise
  std::size_t tag;       // comes back with the completion
  io_operation operation = io_operation::read;
};

struct io_completion {
  std::size_t tag;
  std::int64_t result;  // bytes done, fewer than asked at the end of a file; or -errno
};

// For one thread.
class io_engine {
 public:
  virtual ~io_engine() = default;

  // Requests that are worth having under way at once; submit must not be called with more.
  virtual std::size_t depth() const noexcept = 0;
  virtual void submit(const io_request&) = 0;
  // Waits for any submitted request. At least one must be under way.
  virtual io_completion wait() = 0;
};

std::unique_ptr<io_engine> make_sync_engine(int fd);

// Null where the system refuses an aio context.
std::unique_ptr<io_engine> make_aio_engine(int fd);

}  // namespace persistent_data
