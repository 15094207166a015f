// SPDX-License-Identifier: GPL-3.0-or-later
// How many parts something takes if the last one need not be full.
#pragma once

#include <cstdint>

namespace persistent_data {

// n / by, rounded up; by is not 0.
constexpr std::uint64_t divide_up(std::uint64_t n, std::uint64_t by) noexcept {
  return n / by + (n % by != 0);
}

}  // namespace persistent_data
