// SPDX-License-Identifier: GPL-3.0-or-later
// Raises the eras of neighbouring origin blocks to newer ones: by eras, by bits, or all of them.
// Values past the last of the eras do not count.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "era/format/units.h"
#include "era/format/writeset.h"
#include "era/metadata/vectorized.h"
#include "persistent-data/format/le.h"

namespace era {

// Value: std::uint32_t or le32.
template <class Value>
void raise_by(std::span<std::uint32_t> eras, std::span<const Value> values) {
  const auto raise_all = [](std::uint32_t* to, const Value* from, std::size_t size) ERA_INLINE {
    constexpr std::size_t at_once = 16;
    std::size_t done = 0;
    for (; size - done >= at_once; done += at_once) {
      std::uint32_t raised[at_once];
      for (std::size_t i = 0; i < at_once; ++i)
        raised[i] = std::max<std::uint32_t>(to[done + i], from[done + i]);
      std::copy_n(raised, at_once, to + done);
    }
    for (; done < size; ++done) to[done] = std::max<std::uint32_t>(to[done], from[done]);
  };
  vectorized(raise_all, eras.data(), values.data(), std::min(eras.size(), values.size()));
}

inline void raise(std::span<std::uint32_t> eras, std::span<const pd::le32> values) {
  raise_by(eras, values);
}

// Word: std::uint64_t or le64; block i has bit i % 64 of word i / 64.
template <class Word>
void raise(std::span<std::uint32_t> eras, std::span<const Word> words, era_nr era) {
  for_each_set_bit(words, [&](std::size_t i) {
    if (i < eras.size()) eras[i] = std::max(eras[i], era.value);
  });
}

inline void raise(std::span<std::uint32_t> eras, era_nr era) {
  for (std::uint32_t& e : eras) e = std::max(e, era.value);
}

}  // namespace era
