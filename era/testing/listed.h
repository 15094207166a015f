// SPDX-License-Identifier: GPL-3.0-or-later
// For tests of lists: the list that the eras of all blocks make.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace era::test {

// A line "begin end" for each run of blocks whose era is `since` or later, as era_invalidate
// --format text prints it.
inline std::string listed_since(std::span<const std::uint32_t> eras, std::uint64_t since) {
  std::string text;
  for (std::size_t b = 0; b < eras.size();) {
    const std::size_t begin = b;
    while (b < eras.size() && eras[b] >= since) ++b;
    if (b > begin) text += std::to_string(begin) + ' ' + std::to_string(b) + '\n';
    while (b < eras.size() && eras[b] < since) ++b;
  }
  return text;
}

}  // namespace era::test
