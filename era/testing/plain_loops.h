// SPDX-License-Identifier: GPL-3.0-or-later
// For tests of loops that are compiled twice: runs a test with both.
#pragma once

#include "era/metadata/vectorized.h"

namespace era::test {

// Calls test() twice: with the loops that the processor takes, and with the plain ones.
template <class Test>
void with_either_loop(Test test) {
  test();
  const bool before = detail::uses_avx2;
  detail::uses_avx2 = false;
  test();
  detail::uses_avx2 = before;
}

}  // namespace era::test
