// SPDX-License-Identifier: GPL-3.0-or-later
// Splits a text, and parses numbers by from_chars, which takes no sign for an unsigned type.
#include "era/text/words.h"

#include <charconv>
#include <system_error>

namespace era {

std::vector<std::string_view> words_of(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> words;
  while (true) {
    const auto begin = text.find_first_not_of(separators);
    if (begin == text.npos) return words;
    text.remove_prefix(begin);
    words.push_back(text.substr(0, text.find_first_of(separators)));
    text.remove_prefix(words.back().size());
  }
}

leading_number parse_leading_number(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view rest = text.substr(static_cast<std::size_t>(end - text.data()));
  if (error == std::errc::result_out_of_range) return {number_status::too_large, 0, rest};
  if (error != std::errc()) return {number_status::none, 0, rest};
  return {number_status::fits, value, rest};
}

}  // namespace era
