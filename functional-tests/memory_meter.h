// SPDX-License-Identifier: GPL-3.0-or-later
// Counts what the program has on the heap. For one source of a program only: this replaces the
// global operator new. With a sanitizer, which brings its own, nothing is counted.
#pragma once

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "persistent-data/testing/sanitized.h"

namespace memory_meter {

inline constexpr bool works = !is_sanitized;

// A bug that this is to find must not take the whole machine along.
inline constexpr std::size_t limit = std::size_t{1} << 30;

inline std::atomic<std::size_t> live = 0, highest = 0;

// From here on the peak is measured.
inline std::size_t start() {
  highest = live.load();
  return live;
}

// Returns the peak of memory in use less the memory in use at the start.
inline std::size_t peak_since(std::size_t started) {
  const std::size_t peak = highest;
  return peak > started ? peak - started : 0;
}

// Not inlined: the compiler would take malloc and operator delete for a pair that does not match.
[[gnu::noinline]] inline void* counted(void* memory) {
  if (!memory) throw std::bad_alloc();
  const std::size_t size = ::malloc_usable_size(memory), now = live += size;
  if (now > limit) {
    live -= size;
    std::free(memory);
    throw std::bad_alloc();
  }
  std::size_t before = highest;
  while (before < now && !highest.compare_exchange_weak(before, now)) continue;
  return memory;
}

[[gnu::noinline]] inline void release(void* memory) noexcept {
  live -= ::malloc_usable_size(memory);
  std::free(memory);
}

}  // namespace memory_meter

#if !ERA_SANITIZED
void* operator new(std::size_t size) {
  return memory_meter::counted(std::malloc(std::max<std::size_t>(size, 1)));
}
void* operator new(std::size_t size, std::align_val_t align) {
  const auto to = static_cast<std::size_t>(align);
  return memory_meter::counted(std::aligned_alloc(to, (size + to - 1) / to * to));
}
void operator delete(void* memory) noexcept { memory_meter::release(memory); }
void operator delete(void* memory, std::size_t) noexcept { memory_meter::release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { memory_meter::release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  memory_meter::release(memory);
}
// The forms for arrays and those that do not throw call these.
#endif
