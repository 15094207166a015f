// SPDX-License-Identifier: GPL-3.0-or-later
// The numbers among the words of a line of a script or a trace.
#pragma once

#include <cstdint>
#include <string_view>

#include <fmt/format.h>

#include "era/text/printable.h"
#include "era/text/words.h"
#include "persistent-data/format/errors.h"

namespace era::sim {

namespace pd = persistent_data;

// Returns the number that the text says in decimal digits; "08" is 8. Throws invalid_input if the
// text is anything else or does not fit. expected: "a sector".
inline std::uint64_t number_in(std::string_view text, std::string_view expected) {
  const leading_number number = parse_leading_number(text);
  if (number.status == number_status::none || !number.rest.empty())
    throw pd::invalid_input(
        fmt::format("'{}' is no number; {} is expected", printable(text), expected));
  if (number.status == number_status::too_large)
    throw pd::invalid_input(
        fmt::format("'{}' is too large; {} is expected", printable(text), expected));
  return number.value;
}

}  // namespace era::sim
