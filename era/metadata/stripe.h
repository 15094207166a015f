// SPDX-License-Identifier: GPL-3.0-or-later
// Folding: the era in which each origin block was last written, or whether that was in a window of
// eras, a stripe at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "era/damage/finding.h"
#include "era/metadata/content.h"
#include "era/metadata/metadata.h"

namespace era {

// A stripe is what one block of a bitset covers, and 32 blocks of the era array: 32,576 origin
// blocks. The last one may be shorter.
inline constexpr std::uint64_t blocks_per_stripe = bits_per_bitset_block;

std::uint64_t nr_stripes(const metadata&) noexcept;
pd::range stripe_blocks(const metadata&, std::uint64_t stripe) noexcept;

enum class fold_what {
  everything,
  era_array_only  // as far as writesets have been digested
};

// For one thread; borrows the metadata and the device.
class stripe_reader {
 public:
  stripe_reader(const metadata&, const pd::block_device&, fold_what);

  // Called for each sound block of the stripe, in any order. of_array: its values are of the era
  // array, and are those from this block of the stripe on; of_writeset: its bits are of this era.
  struct visitor {
    std::function<void(std::uint64_t first, std::span<const pd::le32>)> of_array;
    std::function<void(era_nr, std::span<const pd::le64>)> of_writeset;
  };
  void read(std::uint64_t stripe, const visitor&, std::vector<finding>& findings);

 private:
  const metadata& metadata_;
  fold_what what_;
  content_reader reader_;
  std::vector<array_position> positions_;
};

// For one thread; borrows the metadata and the device.
class stripe_folder {
 public:
  stripe_folder(const metadata&, const pd::block_device&, fold_what = fold_what::everything);

  // The era of each origin block of the stripe: the newest of its value in the era array and of the
  // writesets that have it, the current one included. Valid until the next call. Where findings are
  // added, or where the metadata's maps have lost blocks, it is incomplete: what damage hides
  // counts as never written here, and the caller must not pass it on.
  std::span<const std::uint32_t> fold(std::uint64_t stripe, std::vector<finding>& findings);

 private:
  const metadata& metadata_;
  stripe_reader reader_;
  std::vector<std::uint32_t> eras_;
};

// What the fold says about a window of eras, without a look at each block: for one thread; borrows
// the metadata and the device.
class stripe_filter {
 public:
  stripe_filter(const metadata&, const pd::block_device&, pd::range eras);

  // Block i of the stripe has bit i % 64 of word i / 64: set where its era as fold() has it is in
  // the window. No bit past the stripe's end is set. Valid until the next call, and the caller's to
  // change till then.
  std::span<std::uint64_t> filter(std::uint64_t stripe, std::vector<finding>& findings);

 private:
  // The blocks that were written in an era or later.
  struct since {
    std::uint64_t era;
    std::vector<std::uint64_t> bits;

    void reset(std::uint64_t nr_blocks);
    void add(std::uint64_t first, std::span<const pd::le32> eras);
    void add(era_nr, std::span<const pd::le64> words);
  };

  const metadata& metadata_;
  stripe_reader reader_;
  since begin_, end_;
};

}  // namespace era
