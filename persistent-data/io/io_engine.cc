// SPDX-License-Identifier: GPL-3.0-or-later
// The two engines: pread and pwrite, and Linux aio.
#include "persistent-data/io/io_engine.h"

#include <libaio.h>
#include <unistd.h>

#include <array>
#include <cassert>
#include <cerrno>
#include <vector>

namespace persistent_data {
namespace {

// One request at a time: what the page cache answers needs no queue.
class sync_engine final : public io_engine {
 public:
  explicit sync_engine(int fd) : fd_(fd) {}

  std::size_t depth() const noexcept override { return 1; }

  void submit(const io_request& request) override {
    assert(!waiting_);
    request_ = request;
    waiting_ = true;
  }

  io_completion wait() override {
    assert(waiting_);
    waiting_ = false;
    ssize_t result;
    do {
      result = transfer(static_cast<off_t>(request_.offset));
    } while (result < 0 && errno == EINTR);
    return {request_.tag, result < 0 ? -errno : result};
  }

 private:
  ssize_t transfer(off_t offset) const {
    return request_.operation == io_operation::write
               ? ::pwrite(fd_, request_.buffer, request_.bytes, offset)
               : ::pread(fd_, request_.buffer, request_.bytes, offset);
  }

  int fd_;
  io_request request_{};
  bool waiting_ = false;
};

class aio_engine final : public io_engine {
 public:
  static constexpr std::size_t queue_depth = 16;

  aio_engine(int fd, io_context_t context) : fd_(fd), context_(context) {
    for (iocb& control : controls_) free_.push_back(&control);
  }
  // Waits for what is under way: the buffers belong to the caller.
  ~aio_engine() override { io_destroy(context_); }

  std::size_t depth() const noexcept override { return queue_depth; }

  void submit(const io_request& request) override {
    assert(!free_.empty());
    iocb* control = free_.back();
    free_.pop_back();
    const auto prepare = request.operation == io_operation::write ? io_prep_pwrite : io_prep_pread;
    prepare(control, fd_, request.buffer, request.bytes, static_cast<long long>(request.offset));
    control->data = reinterpret_cast<void*>(request.tag);
    int submitted;
    do {
      submitted = io_submit(context_, 1, &control);
    } while (submitted == -EINTR || submitted == -EAGAIN);
    if (submitted == 1) return;
    refused_.push_back({request.tag, submitted < 0 ? submitted : -EIO});
    free_.push_back(control);
  }

  io_completion wait() override {
    if (!refused_.empty()) {
      const io_completion completion = refused_.back();
      refused_.pop_back();
      return completion;
    }
    assert(free_.size() < queue_depth);
    io_event event;
    int events;
    do {
      events = io_getevents(context_, 1, 1, &event, nullptr);
    } while (events == -EINTR);
    // With a valid context and a valid buffer there is no other failure.
    assert(events == 1);
    free_.push_back(event.obj);
    // An error is negative in a field without a sign, of 32 bits on a small machine.
    return {reinterpret_cast<std::size_t>(event.data), static_cast<long>(event.res)};
  }

 private:
  int fd_;
  io_context_t context_;
  std::array<iocb, queue_depth> controls_{};
  std::vector<iocb*> free_;
  std::vector<io_completion> refused_;
};

}  // namespace

std::unique_ptr<io_engine> make_sync_engine(int fd) { return std::make_unique<sync_engine>(fd); }

std::unique_ptr<io_engine> make_aio_engine(int fd) {
  io_context_t context{};
  if (io_setup(aio_engine::queue_depth, &context) != 0) return nullptr;
  return std::make_unique<aio_engine>(fd, context);
}

}  // namespace persistent_data
