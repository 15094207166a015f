// SPDX-License-Identifier: GPL-3.0-or-later
// The fold over a stripe.
#include "era/view/stripe.h"

#include <algorithm>
#include <bit>
#include <cassert>

namespace era {
namespace {

// Raises the era of every block that has its bit set; bits past the origin's end do not count.
void raise(std::span<std::uint32_t> eras, std::span<const pd::le64> words, era_nr era) {
  for (std::size_t w = 0; w < words.size(); ++w) {
    for (std::uint64_t word = words[w]; word != 0; word &= word - 1) {
      const std::size_t bit = w * bits_per_word + static_cast<std::size_t>(std::countr_zero(word));
      if (bit >= eras.size()) return;
      eras[bit] = std::max(eras[bit], era.value);
    }
  }
}

void raise(std::span<std::uint32_t> eras, std::span<const pd::le32> values) {
  assert(values.size() <= eras.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    eras[i] = std::max<std::uint32_t>(eras[i], values[i]);
}

}  // namespace

std::uint64_t nr_stripes(const metadata& m) noexcept {
  return (m.sb.nr_blocks + blocks_per_stripe - 1) / blocks_per_stripe;
}

pd::range stripe_blocks(const metadata& m, std::uint64_t stripe) noexcept {
  return pd::intersection({stripe * blocks_per_stripe, (stripe + 1) * blocks_per_stripe},
                          {0, m.sb.nr_blocks});
}

stripe_folder::stripe_folder(const metadata& m, const pd::block_device& device, fold_what what)
    : metadata_(m), what_(what), reader_(device) {}

std::span<const std::uint32_t> stripe_folder::fold(std::uint64_t stripe,
                                                   std::vector<finding>& findings) {
  const pd::range blocks = stripe_blocks(metadata_, stripe);
  eras_.assign(blocks.size(), 0);

  const pd::array_map& array = metadata_.eras;
  const std::uint64_t first = stripe * array_blocks_per_stripe;
  const std::uint64_t end = std::min(first + array_blocks_per_stripe, array.nr_blocks());
  positions_.clear();
  for (std::uint64_t i = first; i < end; ++i)
    positions_.push_back({&array, metadata_.place_of(part::era_array), i, 0});
  for (const writeset& ws : metadata_.writesets)
    if (what_ == fold_what::everything && stripe < ws.bits.nr_blocks())
      positions_.push_back({&ws.bits, ws.where, stripe, ws.nr_bits});

  // Blocks arrive in any order: the newest era is the same in all of them.
  const auto take = [&](std::size_t k, const pd::block& b) -> std::optional<finding> {
    const array_position& at = positions_[k];
    if (at.where.what != part::era_array) {
      raise(eras_, pd::array_values<pd::le64>(b), at.where.era);
      return {};
    }
    raise(std::span(eras_).subspan((at.index - first) * eras_per_array_block),
          pd::array_values<pd::le32>(b));
    return find_future_eras(at, b, {metadata_.sb.current_era});
  };
  reader_.read(positions_, take, findings);
  return eras_;
}

}  // namespace era
