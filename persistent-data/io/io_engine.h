// SPDX-License-Identifier: GPL-3.0-or-later
// How a request gets to the device: one request in, one completion out. Short transfers and errors
// are handed on as they are; the queues deal with them, for all engines alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "persistent-data/io/opened_storage.h"
#include "persistent-data/io/system_calls.h"

namespace persistent_data {

enum class io_operation { read, write };

struct io_request {
  std::byte* buffer;     // aligned to sectors of 512 bytes; must live until the completion
  std::size_t bytes;     // a multiple of the sector
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
  // Waits for the requests under way: nothing touches their memory after it.
  virtual ~io_engine() = default;

  // Requests that are worth having under way at once; submit must not be called with more.
  virtual std::size_t depth() const noexcept = 0;
  virtual void submit(const io_request&) = 0;
  // Waits for any submitted request. At least one must be under way.
  virtual io_completion wait() = 0;
};

// One request, here and now. Returns the bytes that were transferred, or -errno.
std::int64_t transfer(int fd, const io_request&, system_calls&);

// All of them try again when a signal interrupts a call.
std::unique_ptr<io_engine> make_sync_engine(int fd, system_calls& = system_calls::real());

// Returns null if the system refuses an aio context. If the system has no room for a request, the
// engine waits for those under way, and transfers the request itself if there are none.
std::unique_ptr<io_engine> make_aio_engine(int fd, system_calls& = system_calls::real());

// The same over io_uring. Returns null if it is not built in, or the kernel is too old or refuses
// it.
std::unique_ptr<io_engine> make_uring_engine(int fd, system_calls& = system_calls::real());

enum class engine_choice {
  automatic,  // io_uring with O_DIRECT for block devices, pread for files
  sync,
  aio,
  uring
};

// Resolves automatic.
constexpr engine_choice resolve(engine_choice chosen, bool is_block_device) {
  if (chosen != engine_choice::automatic) return chosen;
  return is_block_device ? engine_choice::uring : engine_choice::sync;
}

// Several requests of a file are under way at once only if they bypass the page cache: without an
// engine for that, the cache is kept.
constexpr page_cache cache_for(engine_choice chosen) {
  return resolve(chosen, false) == engine_choice::sync ? page_cache::for_files
                                                       : page_cache::where_needed;
}

// Makes the engine that was chosen, or the next simpler one that the system grants: io_uring, aio,
// one request at a time.
std::unique_ptr<io_engine> make_engine(engine_choice, int fd, system_calls& = system_calls::real());

}  // namespace persistent_data
