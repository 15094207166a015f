// SPDX-License-Identifier: GPL-3.0-or-later
// A bitset, an array of words, that is changed by copies.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>

#include "persistent-data/format/bits.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/format/strong.h"
#include "persistent-data/transaction/array.h"

namespace persistent_data {

// Each change returns the root as it is now. Throws as btree does.
class bitset {
 public:
  static constexpr std::uint64_t bits_per_block =
      std::uint64_t{array<le64>::values_per_block} * bits_per_word;

  explicit bitset(transaction& tx) : words_(tx) {}

  // Makes a bitset of nr_bits bits, none of them set.
  block_nr make(std::uint64_t nr_bits) {
    return words_.resize(words_.make(), 0, bitset_words(nr_bits), le64(0));
  }
  void release(block_nr root) { words_.release(root); }

  // Sets all bits of a range. Copies each bitset block of the range once.
  block_nr set(block_nr root, range bits) {
    for_each_block(bits, [&](range here) {
      root = words_.change_block(root, here.begin / bits_per_block, [&](std::span<le64> words) {
        const std::uint64_t first = first_bit_of_block(here);
        require_words(words.size(), here);
        for_each_word({here.begin - first, here.end - first},
                      [&](std::uint64_t w, std::uint64_t mask) { words[w] = words[w] | mask; });
      });
    });
    return root;
  }

  // Reads one bitset block: calls use(bit) for each set bit of a range, in ascending order, until
  // use returns false. The range is not empty and lies in one bitset block.
  template <class Use>
  void for_each_set(block_nr root, range bits, Use use) const {
    words_.read_block(root, bits.begin / bits_per_block, [&](std::span<const le64> words) {
      const std::uint64_t first = first_bit_of_block(bits);
      require_words(words.size(), bits);
      bool wants_more = true;
      for_each_word({bits.begin - first, bits.end - first}, [&](std::uint64_t w,
                                                                std::uint64_t mask) {
        for (std::uint64_t word = words[w] & mask; wants_more && word != 0; word &= word - 1)
          wants_more =
              use(first + w * bits_per_word + static_cast<std::uint64_t>(std::countr_zero(word)));
      });
    });
  }

  // Calls use(part) for the part of a range of bits in each bitset block that the range touches.
  template <class Bits, class Use>
  static void for_each_block(Bits bits, Use use) {
    for (std::uint64_t b = bits.begin; b < bits.end;) {
      const std::uint64_t end = std::min(bits.end, (b / bits_per_block + 1) * bits_per_block);
      use(Bits{b, end});
      b = end;
    }
  }

 private:
  static std::uint64_t first_bit_of_block(range bits) {
    return bits.begin / bits_per_block * bits_per_block;
  }

  // A block may hold fewer words than it has to, if the metadata is wrong.
  static void require_words(std::size_t size, range bits) {
    if (bitset_words(bits.end - first_bit_of_block(bits)) > size)
      throw damaged_metadata(fmt::format("bit {} of a bitset is not in its block", bits.end - 1));
  }

  array<le64> words_;
};

}  // namespace persistent_data
