// SPDX-License-Identifier: GPL-3.0-or-later
// The words of a line of a script or a trace.
#pragma once

#include <string_view>
#include <vector>

namespace era::sim {

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

}  // namespace era::sim
