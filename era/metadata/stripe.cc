// SPDX-License-Identifier: GPL-3.0-or-later
// 1. The reader asks for the blocks of the era array and of all bitsets that lie in a stripe, as
//    one batch, and turns each that arrives into evidence. A block that cannot be used becomes a
//    finding, an assumption or nothing, as the policy says.
// 2. If losses are to be assumed, it adds the evidence that replaces them.
// 3. The fold raises eras by evidence, and the filter sets bits. Assumptions are kept apart; most
//    stripes have none.
#include "era/metadata/stripe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "era/metadata/vectorized.h"

namespace era {
namespace {

// A bit for each of 64 values: is it at least `least`?
ERA_INLINE inline std::uint64_t at_least(const pd::le32* values, std::uint32_t least) {
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

ERA_INLINE inline void merge(std::uint64_t* bits, std::uint64_t first, std::uint64_t word) {
  const std::uint64_t w = first / bits_per_word, shift = first % bits_per_word;
  bits[w] |= word << shift;
  const std::uint64_t rest = shift > 0 ? word >> (bits_per_word - shift) : 0;
  if (rest != 0) bits[w + 1] |= rest;
}

}  // namespace

std::uint64_t nr_stripes(const metadata& m) noexcept { return stripes_for(m.nr_blocks); }

origin_range stripe_blocks(const metadata& m, std::uint64_t stripe) noexcept {
  return blocks_of_stripe(stripe, m.nr_blocks);
}

stripe_reader::stripe_reader(const metadata& m, const pd::block_device& device, loss_policy policy)
    : metadata_(m), policy_(policy), reader_(device) {}

void stripe_reader::read(std::uint64_t stripe, fold_scope what, const evidence_sink& sink,
                         std::vector<finding>& findings) {
  begin(stripe, stripe_blocks(metadata_, stripe), sink, findings);
  add_positions_of_array(stripe);
  if (what == fold_scope::everything)
    for (const std::uint32_t i : metadata_.writesets_at(stripe)) want(metadata_.writesets[i]);
  read_wanted();
  if (policy_ != loss_policy::assume_written) return;
  add_stray_eras(array_blocks_of(stripe));
  if (what != fold_scope::everything) return;
  add_stray_bits();
  add_ranges();
  add_eras_anywhere();
}

void stripe_reader::prefetch(pd::range stripes, fold_scope what) {
  positions_.clear();
  for (std::uint64_t s = stripes.begin; s < stripes.end; ++s) {
    add_positions_of_array(s);
    if (what == fold_scope::era_array_only) continue;
    for (const std::uint32_t i : metadata_.writesets_at(s)) {
      if (positions_.size() >= pd::read_ahead::most_blocks) break;
      add_position(metadata_.writesets[i], s);
    }
  }
  reader_.prefetch(positions_);
}

void stripe_reader::prefetch_writesets(std::span<const part_of_writeset> parts) {
  positions_.clear();
  for (const auto& [same_era, stripes] : parts)
    for (std::uint64_t i = same_era.begin; i < same_era.end; ++i)
      for (std::uint64_t s = stripes.begin; s < stripes.end; ++s)
        if (const writeset& ws = metadata_.writesets[i];
            s < ws.bits.known_end() && positions_.size() < pd::read_ahead::most_blocks)
          add_position(ws, s);
  reader_.prefetch(positions_);
}

void stripe_reader::read_older(std::uint64_t stripe, era_nr than, const evidence_sink& sink,
                               std::vector<finding>& findings) {
  begin(stripe, stripe_blocks(metadata_, stripe), sink, findings);
  for (const std::uint32_t i : metadata_.writesets_at(stripe))
    if (const writeset& ws = metadata_.writesets[i]; ws.era < than) want(ws);
  read_wanted();
}

void stripe_reader::read_writeset(era_nr era, pd::range same_era, std::uint64_t stripe,
                                  const evidence_sink& sink, std::vector<finding>& findings) {
  // It may have bits past the origin's end, of when the origin was longer.
  begin(stripe, blocks_of_stripe(stripe, max_origin_blocks), sink, findings);
  for (std::uint64_t i = same_era.begin; i < same_era.end; ++i)
    if (const writeset& ws = metadata_.writesets[i]; stripe < ws.bits.known_end()) want(ws);
  read_wanted();
  if (policy_ != loss_policy::assume_written) return;
  if (era == metadata_.current_era) add_stray_bits();
  for (const auto& range : metadata_.lost.ranges.of_era(era.value))
    add_written({range.begin, range.end}, {.era = era, .is_assumed = true});
}

void stripe_reader::begin(std::uint64_t stripe, origin_range blocks, const evidence_sink& sink,
                          std::vector<finding>& findings) {
  stripe_ = stripe;
  blocks_ = blocks;
  sink_ = &sink;
  findings_ = policy_ == loss_policy::refuse ? &findings : &unreported_;
  positions_.clear();
}

pd::range stripe_reader::array_blocks_of(std::uint64_t stripe) const {
  const std::uint64_t first = stripe * array_blocks_per_stripe;
  return {first, std::min(first + array_blocks_per_stripe, metadata_.eras.nr_blocks())};
}

void stripe_reader::add_positions_of_array(std::uint64_t stripe) {
  const pd::range blocks = array_blocks_of(stripe);
  for (std::uint64_t i = blocks.begin; i < blocks.end; ++i)
    positions_.push_back({&metadata_.eras, metadata_.place_of(part::era_array), i});
}

void stripe_reader::add_position(const writeset& ws, std::uint64_t stripe) {
  positions_.push_back({&ws.bits, metadata_.place_of(ws), stripe, ws.nr_bits, ws.era_is_assumed});
}

// There may be millions of writesets: they are read in several batches.
void stripe_reader::want(const writeset& ws) {
  add_position(ws, stripe_);
  if (positions_.size() >= most_positions) read_wanted();
}

void stripe_reader::read_wanted() {
  const auto take_one = [this](std::size_t k, const pd::block* b) -> std::optional<finding> {
    const array_position& at = positions_[k];
    if (at.where.what == part::era_array) return take_eras(at, b);
    return take_bits(at, b);
  };
  reader_.read(positions_, take_one, *findings_);
  positions_.clear();
  unreported_.clear();
}

std::optional<finding> stripe_reader::take_eras(const array_position& at, const pd::block* b) {
  const std::uint64_t first = at.index * eras_per_array_block;
  const bool assumes = policy_ == loss_policy::assume_written;
  if (b) {
    const auto eras = pd::array_values<pd::le32>(*b);
    const bool is_possible = has_been_checked() || newest_era(eras) <= metadata_.newest_possible;
    if (is_possible || !assumes) {
      add_eras(first, eras, {.from = &at});
      if (is_possible) return {};
      return find_future_eras(at, *b, metadata_.newest_possible);
    }
  }
  if (assumes)
    add_written({first, first + eras_per_array_block},
                {.era = metadata_.current_era, .is_assumed = true, .from = &at});
  return {};
}

std::optional<finding> stripe_reader::take_bits(const array_position& at, const pd::block* b) {
  const bool assumes = policy_ == loss_policy::assume_written;
  if (b)
    add_words(pd::array_values<pd::le64>(*b),
              {.era = at.where.era, .is_assumed = at.era_is_assumed, .from = &at});
  else if (assumes)
    add_written(blocks_of_stripe(stripe_, std::min(at.nr_bits, metadata_.nr_blocks)),
                {.era = at.where.era, .is_assumed = true, .from = &at});
  return b && !assumes ? find_surplus_bits(at, *b) : std::nullopt;
}

bool stripe_reader::has_been_checked() const {
  const auto& in_stripe = metadata_.lost.in_stripe;
  return !in_stripe.empty() && !in_stripe[stripe_];
}

// An era that cannot have been counts as the current one, and so do those of a block that cannot be
// read any more.
void stripe_reader::add_stray_eras(pd::range of_array) {
  std::vector<pd::le32> possible;
  const auto look = [&](const stray_blocks::entry& stray, const pd::block* b) {
    const std::uint64_t first = stray.index * std::uint64_t{eras_per_array_block};
    if (!b)
      return add_written({first, first + eras_per_array_block},
                         {.era = metadata_.current_era, .is_assumed = true});
    const auto eras = pd::array_room<pd::le32>(*b);
    possible.assign(eras.begin(), eras.end());
    for (pd::le32& era : possible)
      if (era > metadata_.newest_possible.value) era = metadata_.current_era.value;
    add_eras(first, possible, {.is_assumed = true});
  };
  if (!of_array.empty())
    reader_.read_strays(metadata_.lost.eras.of(of_array), sizeof(pd::le32), look);
}

void stripe_reader::add_stray_bits() {
  const write_evidence e{.era = metadata_.current_era, .is_assumed = true};
  reader_.read_strays(metadata_.lost.bits.of({stripe_, stripe_ + 1}), sizeof(pd::le64),
                      [&](const stray_blocks::entry&, const pd::block* b) {
                        if (!b) return add_written(blocks_, e);
                        add_words(pd::array_room<pd::le64>(*b), e);
                      });
  if (!metadata_.lost.bits_anywhere.empty()) add_words(metadata_.lost.bits_anywhere, e);
}

void stripe_reader::add_eras_anywhere() {
  if (metadata_.lost.eras_anywhere.empty()) return;
  for (std::uint64_t first = blocks_.begin; first < blocks_.end; first += eras_per_array_block)
    add_eras(first, metadata_.lost.eras_anywhere, {.is_assumed = true});
}

void stripe_reader::add_ranges() {
  parts_.clear();
  metadata_.lost.ranges.parts_of(stripe_, parts_);
  for (const auto& part : parts_)
    add_written({blocks_.begin + part.begin, blocks_.begin + part.end},
                {.era = part.era, .is_assumed = true});
}

// first: an origin block.
void stripe_reader::add_eras(std::uint64_t first, std::span<const pd::le32> eras,
                             write_evidence e) const {
  const origin_range about = pd::intersection(blocks_, {first, first + eras.size()});
  if (about.empty()) return;
  e.first = static_cast<std::uint32_t>(about.begin - blocks_.begin);
  e.eras = eras.first(about.size());
  (*sink_)(e);
}

void stripe_reader::add_words(std::span<const pd::le64> words, write_evidence e) const {
  e.words = words.first(std::min<std::size_t>(words.size(), bitset_words(blocks_.size())));
  if (!e.words.empty()) (*sink_)(e);
}

void stripe_reader::add_written(origin_range blocks, write_evidence e) const {
  const origin_range about = pd::intersection(blocks, blocks_);
  if (about.empty()) return;
  e.first = static_cast<std::uint32_t>(about.begin - blocks_.begin);
  e.size = static_cast<std::uint32_t>(about.size());
  (*sink_)(e);
}

stripe_folder::stripe_folder(const metadata& m, const pd::block_device& device, fold_scope what,
                             loss_policy policy)
    : metadata_(m), what_(what), reader_(m, device, policy) {}

std::span<const std::uint32_t> stripe_folder::fold(std::uint64_t stripe,
                                                   std::vector<finding>& findings) {
  const std::size_t size = stripe_blocks(metadata_, stripe).size();
  known_.assign(size, 0);
  any_assumed_ = false;
  // Evidence arrives in any order: the newest era is the same in all of them.
  const auto add = [&](const write_evidence& e) {
    if (e.is_assumed && !std::exchange(any_assumed_, true)) assumed_.assign(size, 0);
    raise(std::span(e.is_assumed ? assumed_ : known_), e);
  };
  reader_.read(stripe, what_, add, findings);
  if (any_assumed_) raise_by(std::span(assumed_), std::span<const std::uint32_t>(known_));
  return assumed();
}

std::uint64_t stripe_folder::nr_assumed() const noexcept {
  if (!any_assumed_) return 0;
  const auto count = [](const std::uint32_t* a, const std::uint32_t* b,
                        std::size_t size) ERA_INLINE {
    constexpr std::size_t at_once = 16;
    std::uint32_t counts[at_once] = {};  // a stripe has fewer blocks than 2^32
    std::size_t done = 0;
    for (; size - done >= at_once; done += at_once)
      for (std::size_t i = 0; i < at_once; ++i) counts[i] += a[done + i] != b[done + i] ? 1 : 0;
    for (; done < size; ++done) counts[0] += a[done] != b[done] ? 1 : 0;
    return std::accumulate(std::begin(counts), std::end(counts), std::uint64_t{0});
  };
  return vectorized(count, assumed_.data(), known_.data(), known_.size());
}

void stripe_filter::since::reset(std::uint64_t nr_blocks) {
  const std::uint64_t all = ~std::uint64_t{0};
  known.assign(bitset_words(nr_blocks), era == 0 ? all : 0);
  assumed.assign(known.size(), 0);
}

void stripe_filter::since::add(const write_evidence& e) {
  auto& bits = e.is_assumed ? assumed : known;
  if (!e.eras.empty())
    add_eras(bits, e.first, e.eras);
  else if (e.era.value >= era)
    set_listed(std::span(bits), e);
}

void stripe_filter::since::add_eras(std::vector<std::uint64_t>& bits, std::uint64_t first,
                                    std::span<const pd::le32> eras) const {
  if (era == 0 || era > std::numeric_limits<std::uint32_t>::max()) return;
  const auto take = [](std::uint64_t* to, std::uint64_t at, const pd::le32* values,
                       std::size_t size, std::uint32_t least) ERA_INLINE {
    std::size_t done = 0;
    for (; size - done >= bits_per_word; done += bits_per_word)
      merge(to, at + done, at_least(values + done, least));
    if (done == size) return;
    pd::le32 last[bits_per_word];
    std::fill(std::copy(values + done, values + size, last), std::end(last), pd::le32(0));
    merge(to, at + done, at_least(last, least));
  };
  vectorized(take, bits.data(), first, eras.data(), eras.size(), static_cast<std::uint32_t>(era));
}

stripe_filter::stripe_filter(const metadata& m, const pd::block_device& device, era_range window,
                             loss_policy policy)
    : metadata_(m),
      reader_(m, device, policy),
      begin_{window.begin, {}, {}},
      end_{window.end, {}, {}} {}

std::span<std::uint64_t> stripe_filter::filter(std::uint64_t stripe,
                                               std::vector<finding>& findings) {
  const std::uint64_t nr_blocks = stripe_blocks(metadata_, stripe).size();
  begin_.reset(nr_blocks);
  end_.reset(nr_blocks);
  const auto add = [&](const write_evidence& e) {
    begin_.add(e);
    end_.add(e);
  };
  reader_.read(stripe, fold_scope::everything, add, findings);
  nr_in_doubt_ = 0;
  auto& listed = begin_.assumed;
  for (std::size_t w = 0; w < listed.size(); ++w) {
    listed[w] |= begin_.known[w];
    if (!metadata_.lost.may_be_too_new) listed[w] &= ~end_.known[w];
    if ((w + 1) * bits_per_word > nr_blocks)
      listed[w] &= (std::uint64_t{1} << nr_blocks % bits_per_word) - 1;
    const std::uint64_t sure = begin_.known[w] & ~(end_.known[w] | end_.assumed[w]);
    nr_in_doubt_ += static_cast<std::uint64_t>(std::popcount(listed[w] & ~sure));
  }
  return listed;
}

}  // namespace era
