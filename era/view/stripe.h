// SPDX-License-Identifier: GPL-3.0-or-later
// Folding: the era in which each origin block was last written, a stripe at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "era/view/content.h"
#include "era/view/finding.h"
#include "era/view/metadata.h"

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
  fold_what what_;
  content_reader reader_;
  std::vector<array_position> positions_;
  std::vector<std::uint32_t> eras_;
};

}  // namespace era
