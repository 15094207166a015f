// SPDX-License-Identifier: GPL-3.0-or-later
// Evidence from a block of an array, or from the loss of one: when origin blocks of a stripe were
// written. Eras and bits are raised by it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "era/metadata/raise.h"

namespace era {

struct array_position;

// About origin blocks from first on, none past the stripe's end. One of eras, words and size is
// set.
struct write_evidence {
  std::uint32_t first = 0;           // counted from the stripe's first block
  std::span<const pd::le32> eras{};  // the last era of each
  std::span<const pd::le64>
      words{};             // a bit for each, from the stripe's first on: written in `era`
  std::uint32_t size = 0;  // so many were written in `era`
  era_nr era{};
  bool is_assumed = false;  // the truth is that, or older
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
  const std::uint64_t end = std::uint64_t{e.first} + e.size;
  for (std::uint64_t at = e.first; at < end;) {
    const std::uint64_t low = at % bits_per_word;
    const std::uint64_t n = std::min<std::uint64_t>(end - at, bits_per_word - low);
    const std::uint64_t ones = n == bits_per_word ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1;
    words[at / bits_per_word] = words[at / bits_per_word] | ones << low;
    at += n;
  }
}

}  // namespace era
