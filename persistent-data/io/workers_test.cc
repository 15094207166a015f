// SPDX-License-Identifier: GPL-3.0-or-later
// Work in parallel, results in order, and every way of ending it early. If a test needs threads to
// meet, they wait for each other and not for a clock.
#include "persistent-data/io/workers.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <fstream>

#include <atomic>
#include <latch>
#include <memory>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>

namespace persistent_data {
namespace {

std::vector<std::size_t> first_numbers(std::size_t n) {
  std::vector<std::size_t> numbers(n);
  std::iota(numbers.begin(), numbers.end(), std::size_t{0});
  return numbers;
}

// Returns the error of the work; empty if it did not fail.
template <class Work>
std::string failure_of(Work work) {
  try {
    work();
    return "";
  } catch (const std::runtime_error& error) {
    return error.what();
  }
}

constexpr auto square = [] { return [](std::size_t item) { return item * item; }; };

TEST(Workers, ResultsComeInOrder) {
  for (const unsigned nr_workers : {0u, 1u, 2u, 3u, 8u, 40u})
    for (const std::size_t items : {0u, 1u, 2u, 15u, 16u, 17u, 1000u}) {
      std::vector<std::size_t> used;
      in_order(nr_workers, items, square, [&](std::size_t item, std::size_t result) {
        EXPECT_EQ(result, item * item);
        used.push_back(item);
      });
      EXPECT_EQ(used, first_numbers(items)) << nr_workers;
    }
}

// Each item is announced to the worker that makes it, once, and before it makes the item before.
TEST(Workers, AnnounceWhatTheyAreGoingToMake) {
  struct announced {
    std::vector<std::size_t> items;
    std::size_t made = 0;
  };
  for (const unsigned nr_workers : {1u, 2u, 3u, 8u})
    for (const std::size_t items : {1u, 2u, 17u, 1000u}) {
      std::atomic<std::size_t> ahead = 0;
      const auto new_worker = [&] {
        return with_prefetch{announced(),
                             [&](announced& mine, std::size_t item) {
                               EXPECT_LT(mine.made, mine.items.size());
                               EXPECT_EQ(mine.items.at(mine.made), item);
                               ahead += mine.items.size() > ++mine.made;
                               return item * item;
                             },
                             [](announced& mine, std::size_t item) { mine.items.push_back(item); }};
      };
      std::size_t used = 0;
      in_order(nr_workers, items, new_worker, [&](std::size_t item, std::size_t result) {
        EXPECT_EQ(item, used++);
        EXPECT_EQ(result, item * item);
      });
      EXPECT_EQ(used, items);
      EXPECT_LT(ahead, items);
      if (nr_workers == 1) {
        EXPECT_EQ(ahead, items - 1);
      }
    }
}

TEST(Workers, ResultsAreUsedInTheCallersThread) {
  const auto caller = std::this_thread::get_id();
  in_order(4, 100, square,
           [&](std::size_t, std::size_t) { EXPECT_EQ(std::this_thread::get_id(), caller); });
}

TEST(Workers, ResultsNeedOnlyMove) {
  const auto new_worker = [] {
    return [](std::size_t item) { return std::make_unique<std::size_t>(item); };
  };
  std::size_t sum = 0;
  in_order(3, 50, new_worker,
           [&](std::size_t, std::unique_ptr<std::size_t> result) { sum += *result; });
  EXPECT_EQ(sum, 49u * 50 / 2);
}

// Item 0 ends only when another was begun: in one thread this would not end.
TEST(Workers, WorkIsInParallel) {
  std::latch both(2);
  const auto new_worker = [&] {
    return [&](std::size_t item) {
      if (item < 2) both.arrive_and_wait();
      return item;
    };
  };
  std::vector<std::size_t> used;
  in_order(2, 20, new_worker, [&](std::size_t item, std::size_t) { used.push_back(item); });
  EXPECT_EQ(used, first_numbers(20));
}

TEST(Workers, EachThreadHasItsWorker) {
  std::atomic<int> made = 0;
  const auto new_worker = [&] {
    ++made;
    return [owner = std::this_thread::get_id()](std::size_t) {
      EXPECT_EQ(owner, std::this_thread::get_id());
      return 0;
    };
  };
  in_order(3, 100, new_worker, [](std::size_t, int) {});
  EXPECT_GE(made, 1);
  EXPECT_LE(made, 3);
}

// The one thread is the caller's.
TEST(Workers, OneItemOrOneWorkerNeedsNoThread) {
  const auto caller = std::this_thread::get_id();
  int made = 0;
  const auto new_worker = [&] {
    ++made;
    EXPECT_EQ(std::this_thread::get_id(), caller);
    return [&](std::size_t) { return std::this_thread::get_id(); };
  };
  const auto use = [&](std::size_t, std::thread::id id) { EXPECT_EQ(id, caller); };
  in_order(8, 0, new_worker, use);
  EXPECT_EQ(made, 0);
  in_order(8, 1, new_worker, use);
  in_order(1, 30, new_worker, use);
  in_order(0, 30, new_worker, use);
  EXPECT_EQ(made, 3);
}

// Memory: while item 0 is being used, only a fixed number of others is begun.
TEST(Workers, FewResultsWait) {
  constexpr unsigned nr_workers = 3;
  constexpr std::size_t most = 2 * nr_workers, items = 500;
  std::atomic<std::size_t> begun = 0, used = 0;
  const auto new_worker = [&] {
    return [&](std::size_t item) {
      // A result that has been handed out and is not yet used makes room already.
      EXPECT_LE(item, used + most);
      ++begun;
      begun.notify_all();
      return item;
    };
  };
  in_order(nr_workers, items, new_worker, [&](std::size_t item, std::size_t) {
    for (std::size_t now = begun; item == 0 && now < most + 1; now = begun) begun.wait(now);
    ++used;
  });
  EXPECT_EQ(begun, items);
}

TEST(Workers, AWorkerThatThrowsEndsTheWork) {
  for (const unsigned nr_workers : {1u, 2u, 8u})
    for (const std::size_t at : {0u, 1u, 7u, 99u}) {
      const auto new_worker = [&] {
        return [&](std::size_t item) {
          if (item == at) throw std::runtime_error("item");
          return item;
        };
      };
      std::vector<std::size_t> used;
      const auto use = [&](std::size_t item, std::size_t) { used.push_back(item); };
      EXPECT_EQ(failure_of([&] { in_order(nr_workers, 100, new_worker, use); }), "item");
      EXPECT_LE(used.size(), at);
      EXPECT_EQ(used, first_numbers(used.size()));
    }
}

TEST(Workers, AWorkerThatCannotBeMadeEndsTheWork) {
  const auto new_worker = [] {
    throw std::runtime_error("worker");
    return [](std::size_t item) { return item; };
  };
  for (const unsigned nr_workers : {1u, 2u, 8u})
    EXPECT_EQ(failure_of([&] {
                in_order(nr_workers, 100, new_worker, [](std::size_t, std::size_t) { FAIL(); });
              }),
              "worker");
}

// All items fail at the same time; one of the errors is thrown, and nothing of the others is left.
TEST(Workers, AllThrow) {
  std::latch all(4);
  const auto new_worker = [&] {
    return [&](std::size_t item) -> std::size_t {
      all.arrive_and_wait();
      throw std::runtime_error(item < 4 ? "item" : "a later item");
    };
  };
  EXPECT_EQ(
      failure_of([&] { in_order(4, 100, new_worker, [](std::size_t, std::size_t) { FAIL(); }); }),
      "item");
}

TEST(Workers, AUseThatThrowsEndsTheWork) {
  for (const unsigned nr_workers : {1u, 2u, 8u})
    for (const std::size_t at : {0u, 1u, 7u, 99u}) {
      std::atomic<std::size_t> begun = 0;
      const auto new_worker = [&] {
        return [&](std::size_t item) {
          ++begun;
          return item;
        };
      };
      std::size_t used = 0;
      const auto use = [&](std::size_t item, std::size_t) {
        if (item == at) throw std::runtime_error("use");
        ++used;
      };
      EXPECT_EQ(failure_of([&] { in_order(nr_workers, 100, new_worker, use); }), "use");
      EXPECT_EQ(used, at);
      EXPECT_LE(begun, at + 1 + 2 * nr_workers);
    }
}

// No thread outlives the call, nor does what it works with.
TEST(Workers, AreGoneAfterwards) {
  const auto token = std::make_shared<int>(0);
  const auto new_worker = [&] {
    return [held = token](std::size_t item) {
      if (item == 50) throw std::runtime_error("item");
      return item;
    };
  };
  failure_of([&] { in_order(4, 100, new_worker, [](std::size_t, std::size_t) {}); });
  EXPECT_EQ(token.use_count(), 1);
  in_order(4, 50, new_worker, [](std::size_t, std::size_t) {});
  EXPECT_EQ(token.use_count(), 1);
}

// The system refuses threads, from the beginning or later on: their stacks take memory.
TEST(InOrder, DoesWithoutThreadsThatItCannotHave) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer needs memory without a limit";
#endif
  const auto work = [](unsigned stacks) {
    std::ifstream status("/proc/self/statm");
    std::uint64_t pages = 0;
    status >> pages;
    rlimit limit{};
    limit.rlim_cur = limit.rlim_max = pages * 4096 + stacks * (std::uint64_t{8} << 20) + (2 << 20);
    if (::setrlimit(RLIMIT_AS, &limit) != 0) std::_Exit(1);
    std::size_t next = 0;
    in_order(
        64, 100, [] { return [](std::size_t item) { return item; }; },
        [&](std::size_t item, std::size_t made) { next += item == next && made == item; });
    std::_Exit(next == 100 ? 0 : 2);
  };
  for (const unsigned stacks : {0u, 1u, 3u}) {
    EXPECT_EXIT(work(stacks), ::testing::ExitedWithCode(0), "") << stacks;
  }
}

}  // namespace
}  // namespace persistent_data
