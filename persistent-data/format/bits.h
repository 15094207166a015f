// SPDX-License-Identifier: GPL-3.0-or-later
// Bits in words of 64: bit i is bit i % 64 of word i / 64.
#pragma once

#include <algorithm>
#include <cstdint>

#include "persistent-data/format/divide_up.h"
#include "persistent-data/format/strong.h"

namespace persistent_data {

inline constexpr std::uint32_t bits_per_word = 64;

// Returns the number of words that hold nr_bits bits.
constexpr std::uint64_t bitset_words(std::uint64_t nr_bits) noexcept {
  return divide_up(nr_bits, bits_per_word);
}

// Calls use(word, mask) for each word that the range touches, ascending. mask has the bits of the
// range in that word, and is not 0.
template <class Tag = index_tag, class Use>
void for_each_word(range_of<Tag> bits, Use use) {
  for (std::uint64_t b = bits.begin; b < bits.end;) {
    const std::uint64_t word = b / bits_per_word;
    const std::uint64_t end = std::min(bits.end, (word + 1) * bits_per_word);
    use(word, ~std::uint64_t{0} >> (bits_per_word - (end - b)) << b % bits_per_word);
    b = end;
  }
}

}  // namespace persistent_data
