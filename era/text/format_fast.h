// SPDX-License-Identifier: GPL-3.0-or-later
// Parts of a line, put one after the other into a text buffer's room without further checks: each
// returns where the next one goes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

namespace era {

// Copies of fixed size are the fastest: they may write past the text that they are for, up to this
// many bytes past its begin.
inline constexpr std::size_t copy_size = 32;

struct fixed_text {
  constexpr fixed_text(std::string_view t) : size(t.size()) {
    for (std::size_t i = 0; i < t.size(); ++i) bytes[i] = t[i];
  }
  char bytes[copy_size] = {};
  std::size_t size;
};

inline char* put(char* to, const fixed_text& text) {
  std::memcpy(to, text.bytes, copy_size);
  return to + text.size;
}

inline char* put(char* to, std::string_view digits) {
  std::memcpy(to, digits.data(), digits.size());
  return to + digits.size();
}

inline char* put(char* to, const fmt::format_int& number) {
  return put(to, std::string_view(number.data(), number.size()));
}

// Numbers as decimal text, fast if each is close to the one before: only the last three digits are
// made, by a look at a table.
class sequential_formatter {
 public:
  char* put(char* to, std::uint64_t number) {
    if (number - thousand_ >= 1000) return put_far(to, number);
    std::memcpy(to, high_, sizeof high_);
    std::memcpy(to + size_, last_digits[number - thousand_].data(), last_digits[0].size());
    return to + size_ + 3;
  }

 private:
  char* put_far(char* to, std::uint64_t number);

  static constexpr auto last_digits = [] {
    std::array<std::array<char, 4>, 1000> texts{};
    for (std::size_t i = 0; i < texts.size(); ++i)
      texts[i] = {static_cast<char>('0' + i / 100), static_cast<char>('0' + i / 10 % 10),
                  static_cast<char>('0' + i % 10)};
    return texts;
  }();

  std::uint64_t thousand_ = 1000;
  char high_[24] = {'1'};  // of 2^64 it takes 17
  std::size_t size_ = 1;
};

}  // namespace era
