// SPDX-License-Identifier: GPL-3.0-or-later
// A value of the writeset tree: an archived writeset, under its era as the key.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "era/format/units.h"
#include "persistent-data/format/array_block.h"
#include "persistent-data/format/bits.h"
#include "persistent-data/format/divide_up.h"
#include "persistent-data/format/le.h"
#include "persistent-data/format/strong.h"

namespace era {

namespace pd = persistent_data;

struct writeset_value {
  pd::le32 nr_bits;  // blocks that the origin had in that era
  pd::le64 root;     // a bitset: an array of le64 words, bit i in word i / 64 at i % 64
};
static_assert(sizeof(writeset_value) == 12 && offsetof(writeset_value, root) == 4);

using pd::bits_per_word;
using pd::bitset_words;

// One block of a bitset covers as many origin blocks as 32 blocks of the era array: a stripe.
inline constexpr std::uint32_t bits_per_bitset_block =
    pd::max_array_entries(sizeof(pd::le64)) * bits_per_word;
inline constexpr std::uint32_t eras_per_array_block = pd::max_array_entries(sizeof(pd::le32));
inline constexpr std::uint32_t array_blocks_per_stripe = 32;
static_assert(bits_per_bitset_block == 32576);
static_assert(array_blocks_per_stripe * eras_per_array_block == bits_per_bitset_block);

inline constexpr std::uint64_t blocks_per_stripe = bits_per_bitset_block;

// The stripes of an origin, the last of which may be shorter, and the origin blocks of one.
constexpr std::uint64_t stripes_for(std::uint64_t nr_blocks) noexcept {
  return pd::divide_up(nr_blocks, blocks_per_stripe);
}
inline origin_range blocks_of_stripe(std::uint64_t stripe, std::uint64_t nr_blocks) noexcept {
  return pd::intersection(
      origin_range{stripe * blocks_per_stripe, (stripe + 1) * blocks_per_stripe}, {0, nr_blocks});
}

// Calls use(i) for each set bit i, in ascending order. Word: pd::le64 or std::uint64_t.
template <class Word, class Use>
void for_each_set_bit(std::span<const Word> words, Use use) {
  for (std::size_t w = 0; w < words.size(); ++w)
    for (std::uint64_t word = words[w]; word != 0; word &= word - 1)
      use(w * bits_per_word + static_cast<std::size_t>(std::countr_zero(word)));
}

}  // namespace era
