// SPDX-License-Identifier: GPL-3.0-or-later
// Ranges, as messages name them.
#pragma once

#include <string>

#include <fmt/format.h>

#include "persistent-data/format/strong.h"

namespace era {

// Returns "1 block", or "3 blocks".
inline std::string counted(std::uint64_t n, std::string_view singular) {
  return fmt::format("{} {}{}", n, singular, n == 1 ? "" : "s");
}

// Returns "block 5", or "blocks 5 to 7", of a singular and a range that is not empty.
template <class Tag>
std::string in_words(const char* singular, persistent_data::range_of<Tag> r) {
  if (r.size() == 1) return fmt::format("{} {}", singular, r.begin);
  return fmt::format("{}s {} to {}", singular, r.begin, r.end - 1);
}

}  // namespace era
