// SPDX-License-Identifier: GPL-3.0-or-later
// The words of a line of a script or a trace, and the numbers among them.
#pragma once

#include <charconv>
#include <cstdint>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "era/text/printable.h"
#include "persistent-data/format/errors.h"

namespace era::sim {

namespace pd = persistent_data;

inline std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (true) {
    const auto begin = line.find_first_not_of(" \t\r");
    if (begin == line.npos) return words;
    line.remove_prefix(begin);
    words.push_back(line.substr(0, line.find_first_of(" \t\r")));
    line.remove_prefix(words.back().size());
  }
}

// Returns the number that the text says in decimal digits; "08" is 8. Throws invalid_input if the
// text is anything else or does not fit. expected: "a sector".
inline std::uint64_t number_in(std::string_view text, std::string_view expected) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size() || error == std::errc::invalid_argument)
    throw pd::invalid_input(
        fmt::format("'{}' is no number; {} is expected", printable(text), expected));
  if (error != std::errc())
    throw pd::invalid_input(
        fmt::format("'{}' is too large; {} is expected", printable(text), expected));
  return value;
}

}  // namespace era::sim
