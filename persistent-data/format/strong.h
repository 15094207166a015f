// SPDX-License-Identifier: GPL-3.0-or-later
// Numbers that must not be confused (a metadata block, an origin block, an era) as types of their
// own, and half-open ranges of numbers.
#pragma once

#include <algorithm>
#include <compare>
#include <concepts>
#include <cstdint>

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

// [begin, end); empty when they are equal.
struct range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  bool empty() const noexcept { return begin >= end; }
  std::uint64_t size() const noexcept { return empty() ? 0 : end - begin; }
  friend bool operator==(const range&, const range&) = default;
};

inline range intersection(range a, range b) noexcept {
  const range both{std::max(a.begin, b.begin), std::min(a.end, b.end)};
  return both.empty() ? range{} : both;
}

}  // namespace persistent_data

template <class Tag, class Rep>
struct fmt::formatter<persistent_data::strong<Tag, Rep>> : fmt::formatter<Rep> {
  template <class Context>
  auto format(persistent_data::strong<Tag, Rep> number, Context& context) const {
    return fmt::formatter<Rep>::format(number.value, context);
  }
};
