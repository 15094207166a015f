// SPDX-License-Identifier: GPL-3.0-or-later
// Numbers that are near each other come out as any other way.
#include "era/text/format_fast.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace era {
namespace {

std::string text_of(sequential_formatter& number, std::uint64_t value) {
  char text[64];
  return std::string(text, number.put(text, value));
}

TEST(SequentialFormatter, CountsOverEveryCarry) {
  sequential_formatter number;
  for (const std::uint64_t begin :
       {0ull, 95ull, 990ull, 1'990ull, 9'990ull, 999'990ull, 4'294'967'290ull, 999'999'999'990ull})
    for (std::uint64_t i = 0; i < 20; ++i)
      ASSERT_EQ(text_of(number, begin + i), std::to_string(begin + i));
}

TEST(SequentialFormatter, GoesBackAndFar) {
  sequential_formatter number;
  constexpr std::uint64_t last = std::numeric_limits<std::uint64_t>::max();
  for (const std::uint64_t value : {last, last - 616, last - 615, std::uint64_t{7}, last,
                                    std::uint64_t{1000}, std::uint64_t{999}, std::uint64_t{1001},
                                    std::uint64_t{2000}, std::uint64_t{1999}, std::uint64_t{0}})
    ASSERT_EQ(text_of(number, value), std::to_string(value));
}

TEST(Put, KeepsToTheSizeOfATextAndNotOfItsCopy) {
  constexpr fixed_text hello = std::string_view("hello");
  char text[64];
  char* const end = put(put(text, hello), hello);
  EXPECT_EQ(std::string_view(text, static_cast<std::size_t>(end - text)), "hellohello");
}

}  // namespace
}  // namespace era
