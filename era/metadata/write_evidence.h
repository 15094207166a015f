// SPDX-License-Identifier: GPL-3.0-or-later
// Evidence from a block of an array, or from the loss of one: when origin blocks of a stripe were
// written. Eras and bits are raised by it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "era/metadata/raise.h"
#include "persistent-data/format/bits.h"

namespace era {

struct array_position;

// About origin blocks from `first` on, none past the stripe's end. One of eras, words and size is
// set.
struct write_evidence {
  std::uint32_t first = 0;            // counted from the stripe's first block
  std::span<const pd::le32> eras{};   // the last era of each block
  std::span<const pd::le64> words{};  // a bit for each block from the stripe's first on
  std::uint32_t size = 0;             // a number of blocks
  era_nr era{};                       // the blocks of words or size were written in it
  bool is_assumed = false;            // the truth is that, or older
  const array_position* from = nullptr;
};

// eras: of all blocks of the stripe.
inline void raise(std::span<std::uint32_t> eras, const write_evidence& e) {
  if (!e.eras.empty())
    raise(eras.subspan(e.first), e.eras);
  else if (!e.words.empty())
    raise(eras, e.words, e.era);
  else
    raise(eras.subspan(e.first, e.size), e.era);
}

// Sets the bits of the blocks that e lists, by words or by size. Word: std::uint64_t or le64; block
// i of the stripe has bit i % 64 of word i / 64. Bits past the stripe's last block may be set.
template <class Word>
void set_listed(std::span<Word> words, const write_evidence& e) {
  for (std::size_t w = 0; w < std::min(words.size(), e.words.size()); ++w)
    words[w] = words[w] | e.words[w];
  const origin_range listed{e.first, std::uint64_t{e.first} + e.size};
  pd::for_each_word(listed,
                    [&](std::uint64_t w, std::uint64_t mask) { words[w] = words[w] | mask; });
}

}  // namespace era
