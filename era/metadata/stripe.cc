// SPDX-License-Identifier: GPL-3.0-or-later
// The fold over a stripe, and the filter by a window of eras.
#include "era/metadata/stripe.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "era/metadata/raise.h"

namespace era {
namespace {

// A bit for each of 64 values: is it at least so much? Loops of fixed length, for the vectoriser.
std::uint64_t at_least(const pd::le32* values, std::uint32_t least) {
  unsigned char is[64];
  for (std::size_t i = 0; i < 64; ++i) is[i] = values[i] >= least ? 1 : 0;
  std::uint64_t bits = 0;
  for (std::size_t byte = 0; byte < 8; ++byte) {
    pd::le64 eight;
    std::memcpy(&eight, is + 8 * byte, sizeof eight);
    // The product's highest byte has the lowest bits of all eight.
    bits |= (eight * 0x0102040810204080u >> 56) << 8 * byte;
  }
  return bits;
}

void merge(std::span<std::uint64_t> bits, std::uint64_t first, std::uint64_t word) {
  const std::uint64_t w = first / bits_per_word, shift = first % bits_per_word;
  bits[w] |= word << shift;
  const std::uint64_t rest = shift > 0 ? word >> (bits_per_word - shift) : 0;
  if (rest != 0) bits[w + 1] |= rest;
}

}  // namespace

std::uint64_t nr_stripes(const metadata& m) noexcept {
  return (m.sb.nr_blocks + blocks_per_stripe - 1) / blocks_per_stripe;
}

pd::range stripe_blocks(const metadata& m, std::uint64_t stripe) noexcept {
  return pd::intersection({stripe * blocks_per_stripe, (stripe + 1) * blocks_per_stripe},
                          {0, m.sb.nr_blocks});
}

stripe_reader::stripe_reader(const metadata& m, const pd::block_device& device, fold_what what)
    : metadata_(m), what_(what), reader_(device) {}

void stripe_reader::read(std::uint64_t stripe, const visitor& visit,
                         std::vector<finding>& findings) {
  const pd::array_map& array = metadata_.eras;
  const std::uint64_t first = stripe * array_blocks_per_stripe;
  const std::uint64_t end = std::min(first + array_blocks_per_stripe, array.nr_blocks());
  const auto take = [&](std::size_t k, const pd::block& b) -> std::optional<finding> {
    const array_position& at = positions_[k];
    if (at.where.what != part::era_array) {
      visit.of_writeset(at.where.era, pd::array_values<pd::le64>(b));
      return {};
    }
    visit.of_array((at.index - first) * eras_per_array_block, pd::array_values<pd::le32>(b));
    return find_future_eras(at, b, {metadata_.sb.current_era});
  };
  positions_.clear();
  for (std::uint64_t i = first; i < end; ++i)
    positions_.push_back({&array, metadata_.place_of(part::era_array), i, 0});
  if (what_ == fold_what::everything)
    for (const std::uint32_t i : metadata_.writesets_at(stripe)) {
      const writeset& ws = metadata_.writesets[i];
      positions_.push_back({&ws.bits, ws.where, stripe, ws.nr_bits});
      if (positions_.size() < most_positions) continue;
      reader_.read(positions_, take, findings);
      positions_.clear();
    }
  reader_.read(positions_, take, findings);
}

stripe_folder::stripe_folder(const metadata& m, const pd::block_device& device, fold_what what)
    : metadata_(m), reader_(m, device, what) {}

std::span<const std::uint32_t> stripe_folder::fold(std::uint64_t stripe,
                                                   std::vector<finding>& findings) {
  eras_.assign(stripe_blocks(metadata_, stripe).size(), 0);
  // Blocks arrive in any order: the newest era is the same in all of them.
  const stripe_reader::visitor visit{
      [&](std::uint64_t first, auto values) { raise(std::span(eras_).subspan(first), values); },
      [&](era_nr era, auto words) { raise(std::span(eras_), words, era); }};
  reader_.read(stripe, visit, findings);
  return eras_;
}

void stripe_filter::since::reset(std::uint64_t nr_blocks) {
  const std::uint64_t all = ~std::uint64_t{0};
  bits.assign((nr_blocks + bits_per_word - 1) / bits_per_word, era == 0 ? all : 0);
}

void stripe_filter::since::add(std::uint64_t first, std::span<const pd::le32> eras) {
  const std::uint64_t least = era;
  if (least == 0 || least > std::numeric_limits<std::uint32_t>::max()) return;
  const auto take = [&](const pd::le32* values) {
    merge(bits, first, at_least(values, static_cast<std::uint32_t>(least)));
    first += bits_per_word;
  };
  for (; eras.size() >= bits_per_word; eras = eras.subspan(bits_per_word)) take(eras.data());
  if (eras.empty()) return;
  pd::le32 last[bits_per_word];
  std::fill(std::copy(eras.begin(), eras.end(), last), std::end(last), pd::le32(0));
  take(last);
}

void stripe_filter::since::add(era_nr written, std::span<const pd::le64> words) {
  if (written.value < era) return;
  for (std::size_t w = 0; w < std::min(words.size(), bits.size()); ++w) bits[w] |= words[w];
}

stripe_filter::stripe_filter(const metadata& m, const pd::block_device& device, pd::range eras)
    : metadata_(m),
      reader_(m, device, fold_what::everything),
      begin_{eras.begin, {}},
      end_{eras.end, {}} {}

std::span<std::uint64_t> stripe_filter::filter(std::uint64_t stripe,
                                               std::vector<finding>& findings) {
  const std::uint64_t nr_blocks = stripe_blocks(metadata_, stripe).size();
  begin_.reset(nr_blocks);
  end_.reset(nr_blocks);
  const auto add = [&](auto what, auto values) {
    begin_.add(what, values);
    end_.add(what, values);
  };
  reader_.read(stripe, {add, add}, findings);
  for (std::size_t w = 0; w < begin_.bits.size(); ++w) begin_.bits[w] &= ~end_.bits[w];
  if (nr_blocks % bits_per_word != 0)
    begin_.bits.back() &= (std::uint64_t{1} << nr_blocks % bits_per_word) - 1;
  return begin_.bits;
}

}  // namespace era
