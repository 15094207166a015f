// SPDX-License-Identifier: GPL-3.0-or-later
// Text of an input, as messages quote it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace era {

// Returns the text without bytes that a terminal could take for a command: all but printable ASCII
// becomes '?'. A text of more than `longest` bytes is cut there and ends in "...".
inline std::string printable(std::string_view text, std::size_t longest = 60) {
  std::string result(text.substr(0, longest));
  for (char& c : result)
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  if (text.size() > longest) result += "...";
  return result;
}

}  // namespace era
