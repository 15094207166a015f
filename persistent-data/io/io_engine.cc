// SPDX-License-Identifier: GPL-3.0-or-later
// The engines of pread and pwrite, and of Linux aio.
#include "persistent-data/io/io_engine.h"

#include <array>
#include <cassert>
#include <cerrno>
#include <vector>

namespace persistent_data {

std::int64_t transfer(int fd, const io_request& r, system_calls& calls) {
  const auto offset = static_cast<off_t>(r.offset);
  ssize_t result;
  do {
    result = r.operation == io_operation::write ? calls.pwrite(fd, r.buffer, r.bytes, offset)
                                                : calls.pread(fd, r.buffer, r.bytes, offset);
  } while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : result;
}

namespace {

// One request at a time: what the page cache answers needs no queue.
class sync_engine final : public io_engine {
 public:
  sync_engine(int fd, system_calls& calls) : fd_(fd), calls_(calls) {}

  std::size_t depth() const noexcept override { return 1; }

  void submit(const io_request& request) override {
    assert(!waiting_);
    request_ = request;
    waiting_ = true;
  }

  io_completion wait() override {
    assert(waiting_);
    waiting_ = false;
    return {request_.tag, transfer(fd_, request_, calls_)};
  }

 private:
  int fd_;
  system_calls& calls_;
  io_request request_{};
  bool waiting_ = false;
};

class aio_engine final : public io_engine {
 public:
  static constexpr std::size_t queue_depth = 16;

  aio_engine(int fd, io_context_t context, system_calls& calls)
      : fd_(fd), context_(context), calls_(calls) {
    done_.reserve(queue_depth);
    for (iocb& control : controls_) free_.push_back(&control);
  }
  // Waits for what is under way: the buffers belong to the caller.
  ~aio_engine() override { io_destroy(context_); }

  std::size_t depth() const noexcept override { return queue_depth; }

  void submit(const io_request& request) override {
    assert(free_.size() > done_.size());
    iocb* control = free_.back();
    free_.pop_back();
    const auto prepare = request.operation == io_operation::write ? io_prep_pwrite : io_prep_pread;
    prepare(control, fd_, request.buffer, request.bytes, static_cast<long long>(request.offset));
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel hands it back as it is
    control->data = reinterpret_cast<void*>(request.tag);
    for (;;) {
      const int submitted = calls_.io_submit(context_, 1, &control);
      if (submitted == 1) return;
      if (submitted == -EINTR) continue;
      const bool others_under_way = free_.size() + 1 < queue_depth;
      if (submitted == -EAGAIN && others_under_way) {
        done_.push_back(wait_for_event());
        continue;
      }
      // Without others nothing would make room: no need to ask again.
      done_.push_back({request.tag, submitted == -EAGAIN ? transfer(fd_, request, calls_)
                                    : submitted < 0      ? submitted
                                                         : -EIO});
      free_.push_back(control);
      return;
    }
  }

  io_completion wait() override {
    if (done_.empty()) return wait_for_event();
    const io_completion completion = done_.back();
    done_.pop_back();
    return completion;
  }

 private:
  io_completion wait_for_event() {
    assert(free_.size() < queue_depth);
    io_event event;
    int events;
    do {
      events = calls_.io_getevents(context_, 1, 1, &event, nullptr);
    } while (events == -EINTR);
    // With a valid context and a valid buffer there is no other failure.
    assert(events == 1);
    free_.push_back(event.obj);
    // An error is negative in a field without a sign, of 32 bits on a small machine.
    return {reinterpret_cast<std::size_t>(event.data), static_cast<long>(event.res)};
  }

  int fd_;
  io_context_t context_;
  system_calls& calls_;
  std::array<iocb, queue_depth> controls_{};
  std::vector<iocb*> free_;          // not known to the kernel
  std::vector<io_completion> done_;  // and not handed out yet
};

}  // namespace

std::unique_ptr<io_engine> make_sync_engine(int fd, system_calls& calls) {
  return std::make_unique<sync_engine>(fd, calls);
}

std::unique_ptr<io_engine> make_aio_engine(int fd, system_calls& calls) {
  io_context_t context{};
  if (io_setup(aio_engine::queue_depth, &context) != 0) return nullptr;
  return std::make_unique<aio_engine>(fd, context, calls);
}

std::unique_ptr<io_engine> make_engine(engine_choice choice, int fd, system_calls& calls) {
  std::unique_ptr<io_engine> engine;
  if (choice == engine_choice::uring) engine = make_uring_engine(fd, calls);
  if (!engine && choice != engine_choice::sync) engine = make_aio_engine(fd, calls);
  if (!engine) engine = make_sync_engine(fd, calls);
  return engine;
}

}  // namespace persistent_data
