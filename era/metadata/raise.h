// SPDX-License-Identifier: GPL-3.0-or-later
// Raises the eras of neighbouring origin blocks to newer ones: by eras, by bits, or all of them.
// Values past the last of the eras do not count.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "era/format/superblock.h"
#include "era/format/writeset.h"
#include "persistent-data/format/le.h"

namespace era {

// Loops of fixed length without a branch, for the vectoriser.
inline void raise(std::span<std::uint32_t> eras, std::span<const pd::le32> values) {
  constexpr std::size_t at_once = 8;
  const std::size_t size = std::min(eras.size(), values.size());
  std::uint32_t* to = eras.data();
  const pd::le32* from = values.data();
  const auto raise_one = [&](std::size_t i) { to[i] = std::max<std::uint32_t>(to[i], from[i]); };
  std::size_t done = 0;
  for (; size - done >= at_once; done += at_once, to += at_once, from += at_once)
    for (std::size_t i = 0; i < at_once; ++i) raise_one(i);
  for (std::size_t i = 0; i < size - done; ++i) raise_one(i);
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
