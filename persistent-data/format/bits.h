// SPDX-License-Identifier: GPL-3.0-or-later
// Ranges of bits in words of 64: bit i is bit i % 64 of word i / 64.
#pragma once

#include <algorithm>
#include <cstdint>

#include "persistent-data/format/strong.h"

namespace persistent_data {

// Calls use(word, mask) for each word that the range touches, ascending. mask has the bits of the
// range in that word, and is not 0.
template <class Tag = index_tag, class Use>
void for_each_word(range_of<Tag> bits, Use use) {
  constexpr std::uint64_t word_bits = 64;
  for (std::uint64_t b = bits.begin; b < bits.end;) {
    const std::uint64_t word = b / word_bits, end = std::min(bits.end, (word + 1) * word_bits);
    use(word, ~std::uint64_t{0} >> (word_bits - (end - b)) << b % word_bits);
    b = end;
  }
}

}  // namespace persistent_data
