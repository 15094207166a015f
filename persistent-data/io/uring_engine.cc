// SPDX-License-Identifier: GPL-3.0-or-later
// The engine over io_uring. Unlike an aio context, which holds up its process for tens of
// milliseconds at its end, a ring costs nothing to give up; and what has been completed is taken
// from it without a system call.
#include <fcntl.h>

#include <array>
#include <cassert>
#include <cerrno>
#include <utility>
#include <vector>

#include "config.h"
#include "persistent-data/io/io_engine.h"

#ifdef HAVE_LIBURING
#include <liburing.h>
#endif

namespace persistent_data {

#ifdef HAVE_LIBURING

int system_calls::io_uring_submit(io_uring* ring) { return ::io_uring_submit(ring); }
int system_calls::io_uring_wait_cqe(io_uring* ring, io_uring_cqe** done) {
  return ::io_uring_wait_cqe(ring, done);
}

namespace {

// The kernel has io_uring since 5.1, and reads and writes of one buffer since 5.6.
bool can_transfer(io_uring& ring) {
  io_uring_probe* const probe = io_uring_get_probe_ring(&ring);
  if (probe == nullptr) return false;
  const bool can = io_uring_opcode_supported(probe, IORING_OP_READ) != 0 &&
                   io_uring_opcode_supported(probe, IORING_OP_WRITE) != 0;
  io_uring_free_probe(probe);
  return can;
}

class uring_engine final : public io_engine {
 public:
  static constexpr unsigned queue_depth = 16;

  uring_engine(int fd, system_calls& calls) : fd_(fd), calls_(calls) {
    if (io_uring_queue_init(queue_depth, &ring_, 0) != 0) return;
    has_ring_ = true;
    is_usable_ = can_transfer(ring_);
    for (std::size_t slot = 0; slot < queue_depth; ++slot) free_[slot] = slot;
  }
  // Waits for what is under way: the buffers belong to the caller.
  ~uring_engine() override {
    while (under_way_ > 0) wait_for_event();
    if (has_ring_) io_uring_queue_exit(&ring_);
  }
  uring_engine(const uring_engine&) = delete;
  uring_engine& operator=(const uring_engine&) = delete;

  bool is_usable() const noexcept { return is_usable_; }

  std::size_t depth() const noexcept override { return queue_depth; }

  void submit(const io_request& request) override {
    assert(under_way_ + done_.size() < queue_depth);
    const std::size_t place = under_way_, slot = free_[place];
    if (next_ == nullptr) next_ = io_uring_get_sqe(&ring_);
    const auto bytes = static_cast<unsigned>(request.bytes);
    if (request.operation == io_operation::write)
      io_uring_prep_write(next_, fd_, request.buffer, bytes, request.offset);
    else
      io_uring_prep_read(next_, fd_, request.buffer, bytes, request.offset);
    io_uring_sqe_set_data64(next_, slot);
    for (;;) {
      const int submitted = calls_.io_uring_submit(&ring_);
      if (submitted == 1) break;
      if (submitted == -EINTR) continue;
      // The system has no room: that of others, when they end. Without others the request is made
      // here, and its entry, which the kernel has not taken, is the next one's.
      if (under_way_ == 0) return done_.push_back({request.tag, transfer(fd_, request, calls_)});
      done_.push_back(wait_for_event());
    }
    next_ = nullptr;
    requests_[slot] = request;
    std::swap(free_[place], free_[under_way_++]);  // others may have ended meanwhile
  }

  io_completion wait() override {
    if (done_.empty()) return wait_for_event();
    const io_completion completion = done_.back();
    done_.pop_back();
    return completion;
  }

 private:
  io_completion wait_for_event() {
    assert(under_way_ > 0);
    for (;;) {
      io_uring_cqe* event = nullptr;
      // With a valid ring it fails for a signal only.
      if (calls_.io_uring_wait_cqe(&ring_, &event) != 0) continue;
      const std::size_t slot = event->user_data;
      const io_completion completion{requests_[slot].tag, event->res};
      io_uring_cqe_seen(&ring_, event);
      free_[--under_way_] = slot;
      // The device would have made the kernel wait, and the kernel did not.
      if (completion.result == -EAGAIN)
        return {completion.tag, transfer(fd_, requests_[slot], calls_)};
      return completion;
    }
  }

  int fd_;
  system_calls& calls_;
  io_uring ring_{};
  io_uring_sqe* next_ = nullptr;  // an entry of the ring that was not submitted
  bool has_ring_ = false, is_usable_ = false;
  std::array<io_request, queue_depth> requests_{};  // under way, by slot
  std::array<std::size_t, queue_depth> free_{};     // slots: from under_way_ on
  std::size_t under_way_ = 0;
  std::vector<io_completion> done_;  // and not handed out yet
};

}  // namespace

std::unique_ptr<io_engine> make_uring_engine(int fd, system_calls& calls) {
  // A descriptor that was opened with O_NONBLOCK makes kernels give requests back that would wait.
  if (const int flags = ::fcntl(fd, F_GETFL); flags >= 0 && (flags & O_NONBLOCK) != 0)
    ::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
  auto engine = std::make_unique<uring_engine>(fd, calls);
  if (!engine->is_usable()) return nullptr;
  return engine;
}

#else

int system_calls::io_uring_submit(io_uring*) { return -ENOSYS; }
int system_calls::io_uring_wait_cqe(io_uring*, io_uring_cqe**) { return -ENOSYS; }
std::unique_ptr<io_engine> make_uring_engine(int, system_calls&) { return nullptr; }

#endif

}  // namespace persistent_data
