// SPDX-License-Identifier: GPL-3.0-or-later
// Builds a bitset, an array of le64 words, from runs of set bits that ascend.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <span>

#include "persistent-data/format/bits.h"
#include "persistent-data/format/strong.h"
#include "persistent-data/write/array_builder.h"

namespace persistent_data {

class bitset_builder {
 public:
  explicit bitset_builder(block_writer& writer) : words_(writer) {}

  // The words that are complete.
  std::uint64_t nr_words() const noexcept { return words_.size(); }

  // Not before the end of an earlier run.
  void set(range bits) {
    assert(bits.begin >= words_.size() * bits_per_word);
    for_each_word(bits, [this](std::uint64_t word, std::uint64_t mask) {
      fill_up_to(word);
      word_ |= mask;
    });
  }

  // Appends words from first_word on. Requires that no bit at or after first_word was set.
  void append(std::uint64_t first_word, std::span<const le64> words) {
    assert(first_word > words_.size() || (first_word == words_.size() && word_ == 0));
    fill_up_to(first_word);
    words_.append(words);
  }

  // Returns the root of a bitset of nr_bits bits. Requires that none at or past nr_bits is set. The
  // builder is used up.
  block_nr finish(std::uint64_t nr_bits) {
    const std::uint64_t nr_words = bitset_words(nr_bits);
    assert(words_.size() <= nr_words);
    fill_up_to(nr_words);
    return words_.finish();
  }

 private:
  // word_ comes after those in words_; those between it and the one at index are zero.
  void fill_up_to(std::uint64_t index) {
    if (index == words_.size()) return;
    words_.append(word_);
    words_.append(index - words_.size(), 0);
    word_ = 0;
  }

  array_builder<le64> words_;
  std::uint64_t word_ = 0;
};

}  // namespace persistent_data
