// SPDX-License-Identifier: GPL-3.0-or-later
// Numbers that must not be confused (a metadata block, an origin block, an era) as types of their
// own, and half-open ranges of numbers.
#pragma once

#include <algorithm>
#include <compare>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include <fmt/format.h>

namespace persistent_data {

template <class Tag, std::unsigned_integral Rep>
struct strong {
  using rep = Rep;
  Rep value{};

  friend auto operator<=>(strong, strong) = default;
  strong& operator++() noexcept {
    ++value;
    return *this;
  }
};

// [begin, end); empty when they are equal. Ranges of different units are different types.
template <class Tag>
struct range_of {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  bool empty() const noexcept { return begin >= end; }
  std::uint64_t size() const noexcept { return empty() ? 0 : end - begin; }
  friend bool operator==(const range_of&, const range_of&) = default;
};

// A range of indices: of keys, values, bits, or an array's blocks.
using range = range_of<struct index_tag>;

template <class Tag = index_tag>
range_of<Tag> intersection(range_of<Tag> a, std::type_identity_t<range_of<Tag>> b) noexcept {
  const range_of<Tag> both{std::max(a.begin, b.begin), std::min(a.end, b.end)};
  return both.empty() ? range_of<Tag>{} : both;
}

}  // namespace persistent_data

template <class Tag, class Rep>
struct fmt::formatter<persistent_data::strong<Tag, Rep>> : fmt::formatter<Rep> {
  template <class Context>
  auto format(persistent_data::strong<Tag, Rep> number, Context& context) const {
    return fmt::formatter<Rep>::format(number.value, context);
  }
};
