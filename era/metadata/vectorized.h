// SPDX-License-Identifier: GPL-3.0-or-later
// Loops that are compiled twice: for any processor, and for x86-64 ones with AVX2, which look at
// eight eras at once.
#pragma once

// glibc's header is not for clang++.
#if defined(__x86_64__) && !defined(__clang__) && __has_include(<sys/platform/x86.h>)
#include <sys/platform/x86.h>
#endif

// The lambda is to be compiled into its caller, with what that may use of the processor.
#define ERA_INLINE __attribute__((always_inline))

namespace era {

namespace detail {

#ifdef __x86_64__

// glibc has asked the processor already: asking is slow in a virtual machine. Tests clear it.
#ifdef CPU_FEATURE_ACTIVE
inline bool uses_avx2 =
    CPU_FEATURE_ACTIVE(AVX2) && CPU_FEATURE_ACTIVE(BMI1) && CPU_FEATURE_ACTIVE(POPCNT);
#else
inline bool uses_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                        __builtin_cpu_supports("popcnt");
#endif

template <class Loop, class... Argument>
[[gnu::target("avx2,bmi,popcnt")]] auto run_with_avx2(Loop loop, Argument... arguments) {
  return loop(arguments...);
}

#else

inline bool uses_avx2 = false;

template <class Loop, class... Argument>
auto run_with_avx2(Loop loop, Argument... arguments) {
  return loop(arguments...);
}

#endif

}  // namespace detail

// Returns loop(arguments...). loop: a lambda that is ERA_INLINE. g++ vectorises at -O2 only loops
// of fixed length whose reads and writes are sure not to overlap.
template <class Loop, class... Argument>
auto vectorized(Loop loop, Argument... arguments) {
  return detail::uses_avx2 ? detail::run_with_avx2(loop, arguments...) : loop(arguments...);
}

}  // namespace era
