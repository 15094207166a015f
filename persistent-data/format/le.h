// SPDX-License-Identifier: GPL-3.0-or-later
// Little-endian integers as they lie on disk: no alignment, converted on access.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>

namespace persistent_data {

template <std::unsigned_integral T>
class le {
 public:
  le() = default;
  le(T value) noexcept { *this = value; }

  le& operator=(T value) noexcept {
    value = to_little(value);
    std::memcpy(bytes_, &value, sizeof value);
    return *this;
  }

  operator T() const noexcept {
    T value;
    std::memcpy(&value, bytes_, sizeof value);
    return to_little(value);
  }

 private:
  // The conversion is its own inverse.
  static T to_little(T value) noexcept {
    if constexpr (std::endian::native == std::endian::little) return value;
    T swapped = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      swapped = static_cast<T>(swapped << 8 | (value & 0xff));
      value = static_cast<T>(value >> 8);
    }
    return swapped;
  }

  unsigned char bytes_[sizeof(T)];
};

using le16 = le<std::uint16_t>;
using le32 = le<std::uint32_t>;
using le64 = le<std::uint64_t>;

static_assert(sizeof(le32) == 4 && alignof(le32) == 1);
static_assert(sizeof(le64) == 8 && alignof(le64) == 1);

}  // namespace persistent_data
