// SPDX-License-Identifier: GPL-3.0-or-later
// Work in parallel, results in order: independent items are made by worker threads and used, one
// after the other, by the caller.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace persistent_data {

namespace detail {

// The results that are made and not yet used; a slot for each of the items in flight.
template <class Result>
class ordered_queue {
 public:
  ordered_queue(std::size_t items, std::size_t in_flight) : items_(items), slots_(in_flight) {}

  // For workers: the next item, as soon as there is room for its result. Nothing: no more to do.
  std::optional<std::size_t> take() {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return stopped_ || next_ == items_ || next_ < used_ + slots_.size(); });
    if (stopped_ || next_ == items_) return {};
    return next_++;
  }

  // take() without waiting. Returns nullopt if there is no room, or if at most `others` items are
  // left.
  std::optional<std::size_t> take_ahead(std::size_t others) {
    const std::lock_guard lock(mutex_);
    if (stopped_ || items_ - next_ <= others || next_ >= used_ + slots_.size()) return {};
    return next_++;
  }

  void put(std::size_t item, Result result) {
    const std::lock_guard lock(mutex_);
    slots_[item % slots_.size()] = std::move(result);
    made_.notify_one();
  }

  // Ends the work early; the first error is the one that get() throws.
  void stop(std::exception_ptr error = nullptr) {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    if (!error_) error_ = std::move(error);
    room_.notify_all();
    made_.notify_one();
  }

  // For the caller: the result of the next item, in order.
  Result get() {
    std::unique_lock lock(mutex_);
    auto& slot = slots_[used_ % slots_.size()];
    made_.wait(lock, [&] { return error_ || slot; });
    if (error_) std::rethrow_exception(error_);
    Result result = std::move(*slot);
    slot.reset();
    ++used_;
    room_.notify_all();
    return result;
  }

 private:
  const std::size_t items_;
  std::mutex mutex_;
  std::condition_variable room_, made_;
  std::vector<std::optional<Result>> slots_;
  std::size_t next_ = 0, used_ = 0;
  bool stopped_ = false;
  std::exception_ptr error_;
};

}  // namespace detail

// A worker for in_order(), of a state that is its own: make(state, item) returns an item's result,
// and prefetch(state, item) begins to read what that needs.
template <class State, class Make, class Prefetch>
struct with_prefetch {
  State state;
  Make make;
  Prefetch begin;

  auto operator()(std::size_t item) { return make(state, item); }
  void prefetch(std::size_t item) { begin(state, item); }
};
template <class State, class Make, class Prefetch>
with_prefetch(State, Make, Prefetch) -> with_prefetch<State, Make, Prefetch>;

// new_worker() is called once in each thread and returns what makes that thread's items:
// Result worker(std::size_t item). use(item, Result) is called in this thread, for item 0, 1, ...
// up to items - 1. If a worker has a function prefetch(std::size_t item), that is called before
// each of its items; while many items are left, before the previous item is made (see
// with_prefetch). At most 2 * nr_workers results wait, and 3 * nr_workers with prefetch. An
// exception of either ends the work and is thrown here. If there is one item or one worker, no
// thread is started. If the system starts no more threads, those that it started do the work, or
// the caller's does.
template <class NewWorker, class Use>
void in_order(unsigned nr_workers, std::size_t items, NewWorker new_worker, Use use) {
  using worker_type = decltype(new_worker());
  using result_type = decltype(std::declval<worker_type&>()(std::size_t{}));
  constexpr bool has_prefetch = requires(worker_type worker) { worker.prefetch(std::size_t{}); };
  const auto work_here = [&] {
    if (items == 0) return;
    worker_type worker = new_worker();
    for (std::size_t item = 0; item < items; ++item) {
      if constexpr (has_prefetch) {
        if (item == 0) worker.prefetch(item);
        if (item + 1 < items) worker.prefetch(item + 1);
      }
      use(item, worker(item));
    }
  };
  if (items <= 1 || nr_workers <= 1) return work_here();

  detail::ordered_queue<result_type> queue(items, std::size_t{has_prefetch ? 3 : 2} * nr_workers);
  std::vector<std::jthread> threads;
  // Threads end before the queue does, however this function is left.
  struct stopper {
    detail::ordered_queue<result_type>& queue;
    std::vector<std::jthread>& threads;
    ~stopper() {
      queue.stop();
      threads.clear();
    }
  } const at_end{queue, threads};

  const auto work = [&] {
    try {
      worker_type worker = new_worker();
      std::optional<std::size_t> ahead;
      while (const auto item = ahead ? ahead : queue.take()) {
        if constexpr (has_prefetch) {
          if (!ahead) worker.prefetch(*item);
          ahead = queue.take_ahead(nr_workers - 1);
          if (ahead) worker.prefetch(*ahead);
        }
        queue.put(*item, worker(*item));
      }
    } catch (...) {
      queue.stop(std::current_exception());
    }
  };
  try {
    for (std::size_t i = 0; i < nr_workers && i < items; ++i) threads.emplace_back(work);
  } catch (const std::system_error&) {
    if (threads.empty()) return work_here();
  }
  for (std::size_t item = 0; item < items; ++item) use(item, queue.get());
}

}  // namespace persistent_data
