// SPDX-License-Identifier: GPL-3.0-or-later
// The words of a line of text, and the decimal numbers that words begin with.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace era {

// Returns the words of the text, none of them empty: they are separated by one or more of these
// characters. They lie in the text, which must outlive them.
std::vector<std::string_view> words_of(std::string_view text,
                                       std::string_view separators = " \t\r");

enum class number_status { fits, none, too_large };  // none: the text begins with no digit

struct leading_number {
  number_status status;
  std::uint64_t value;    // 0 unless it fits
  std::string_view rest;  // of the text, after the digits

  // Returns true if the text is a number that fits, and nothing else.
  bool is_all() const noexcept { return status == number_status::fits && rest.empty(); }
};

// Returns the number that the text begins with, in decimal digits: 8 of "08s". There is no sign,
// and no space before it.
leading_number parse_leading_number(std::string_view text) noexcept;

}  // namespace era
