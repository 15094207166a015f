// SPDX-License-Identifier: GPL-3.0-or-later
// Elements have few attributes: each look-up goes through all of them.
#include "era/xml/attribute_list.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include <fmt/ranges.h>

#include "era/text/printable.h"
#include "era/text/words.h"
#include "persistent-data/format/errors.h"

namespace era::xml {

namespace pd = persistent_data;

bool attribute_list::has(std::string_view name) const {
  for (std::size_t i = 0; attributes_[i]; i += 2)
    if (name == attributes_[i]) return true;
  return false;
}

std::string_view attribute_list::text(std::string_view name) const {
  for (std::size_t i = 0; attributes_[i]; i += 2)
    if (name == attributes_[i]) return attributes_[i + 1];
  throw pd::invalid_input(fmt::format("attribute '{}' is missing", name));
}

std::uint64_t attribute_list::number(std::string_view name, std::uint64_t max) const {
  const std::string_view digits = text(name);
  const leading_number number = parse_leading_number(digits);
  if (number.status == number_status::too_large || number.value > max)
    throw pd::invalid_input(
        fmt::format("{}=\"{}\" is too large; it can be {} at most", name, printable(digits), max));
  if (!number.is_all())
    throw pd::invalid_input(fmt::format("{}=\"{}\" is not a number", name, printable(digits)));
  return number.value;
}

std::uint32_t attribute_list::number32(std::string_view name, std::uint32_t max) const {
  return static_cast<std::uint32_t>(number(name, max));
}

bool attribute_list::boolean(std::string_view name) const {
  const std::string_view word = text(name);
  if (word == "true") return true;
  if (word == "false") return false;
  throw pd::invalid_input(
      fmt::format("{}=\"{}\" is neither true nor false", name, printable(word)));
}

void attribute_list::nothing_but(std::initializer_list<std::string_view> known) const {
  for (std::size_t i = 0; attributes_[i]; i += 2)
    if (std::find(known.begin(), known.end(), attributes_[i]) == known.end())
      throw pd::invalid_input(fmt::format(
          "attribute '{}' is not known; known here: {}", printable(attributes_[i]),
          known.size() == 0 ? "none"
                            : fmt::format("{}", fmt::join(known.begin(), known.end(), ", "))));
}

}  // namespace era::xml
