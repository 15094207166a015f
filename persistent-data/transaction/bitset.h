// SPDX-License-Identifier: GPL-3.0-or-later
// A bitset, an array of words, that is changed by copies.
#pragma once

#include <cstdint>

#include "persistent-data/transaction/array.h"

namespace persistent_data {

// Each change returns the root as it is now. Throws as btree does.
class bitset {
 public:
  explicit bitset(transaction& tx) : words_(tx) {}

  // So many bits, none of them set.
  block_nr make(std::uint64_t nr_bits) {
    return words_.resize(words_.make(), 0, words_for(nr_bits), le64(0));
  }
  void release(block_nr root) { words_.release(root); }

  bool test(block_nr root, std::uint64_t bit) const {
    return words_.get(root, bit / word_bits) >> bit % word_bits & 1;
  }
  block_nr set(block_nr root, std::uint64_t bit) {
    return words_.change_value(root, bit / word_bits,
                               [&](le64& w) { w = w | std::uint64_t{1} << bit % word_bits; });
  }

  array<le64>& words() noexcept { return words_; }

  static constexpr std::uint64_t word_bits = 64;
  static std::uint64_t words_for(std::uint64_t nr_bits) {
    return nr_bits / word_bits + (nr_bits % word_bits != 0);
  }

 private:
  array<le64> words_;
};

}  // namespace persistent_data
