// SPDX-License-Identifier: GPL-3.0-or-later
// Formats a number outside of the current thousand in full, and keeps its digits above the last
// three for the numbers that follow.
#include "era/text/format_fast.h"

#include <limits>

namespace era {

char* sequential_formatter::put_far(char* to, std::uint64_t number) {
  // The highest thousand is not whole: the numbers after it wrap around.
  constexpr std::uint64_t highest = std::numeric_limits<std::uint64_t>::max() / 1000 * 1000;
  if (number < 1000 || number >= highest) return era::put(to, fmt::format_int(number));
  thousand_ = number - number % 1000;
  size_ = static_cast<std::size_t>(era::put(high_, fmt::format_int(number / 1000)) - high_);
  return put(to, number);
}

}  // namespace era
