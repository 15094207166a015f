// SPDX-License-Identifier: GPL-3.0-or-later
// A stripe is kept as the places where its bits change, or as a bitmap if that is smaller; runs
// that go on in the next stripes are joined when they are read.
#include "era/metadata/block_set.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <utility>

#include "era/metadata/stripe.h"
#include "era/metadata/vectorized.h"
#include "persistent-data/io/workers.h"

namespace era {
namespace {

constexpr std::size_t shorts_per_word = bits_per_word / 16;

// Calls take(i) for each block i that differs from the block before it, so for the begin and end of
// each run. The block before the first counts as not chosen; a run that reaches the last bit of the
// words has no end.
template <class Take>
void for_each_edge(std::span<const std::uint64_t> words, Take take) {
  std::uint64_t before = 0;
  for (std::size_t w = 0; w < words.size(); ++w) {
    std::uint64_t edges = words[w] ^ (words[w] << 1 | before);
    before = words[w] >> (bits_per_word - 1);
    for (; edges != 0; edges &= edges - 1)
      take(w * bits_per_word + static_cast<std::size_t>(std::countr_zero(edges)));
  }
}

std::uint16_t count_edges(std::span<const std::uint64_t> words) {
  const auto count_all = [](const std::uint64_t* word, std::size_t size) ERA_INLINE {
    std::uint64_t before = 0;
    int count = 0;
    for (std::size_t w = 0; w < size; ++w) {
      count += std::popcount(word[w] ^ (word[w] << 1 | before));
      before = word[w] >> (bits_per_word - 1);
    }
    return static_cast<std::uint16_t>(count);
  };
  return vectorized(count_all, words.data(), words.size());
}

std::size_t count_leading(std::span<const std::uint64_t> words) {
  const auto at = std::find_if(words.begin(), words.end(), [](auto word) { return ~word != 0; });
  const auto full = static_cast<std::size_t>(at - words.begin()) * bits_per_word;
  return at == words.end() ? full : full + static_cast<std::size_t>(std::countr_one(*at));
}

}  // namespace

stripe_set::stripe_set(std::span<const std::uint64_t> words, std::size_t nr_blocks) {
  assert(nr_blocks <= blocks_per_stripe && words.size() == bitset_words(nr_blocks));
  if (nr_blocks == 0) return;
  leading_ = static_cast<std::uint16_t>(count_leading(words));
  goes_on_ = words.back() >> (nr_blocks - 1) % bits_per_word != 0;
  edges_ = count_edges(words);
  is_bitmap_ = edges_ > words.size() * shorts_per_word;
  if (is_bitmap_) {
    kept_.resize(words.size() * shorts_per_word);
    std::memcpy(kept_.data(), words.data(), words.size_bytes());
  } else {
    kept_.reserve(edges_);
    for_each_edge(words,
                  [&](std::size_t edge) { kept_.push_back(static_cast<std::uint16_t>(edge)); });
  }
  size_ = static_cast<std::uint16_t>(kept_.size());
}

void block_set::add(stripe_set stripe) {
  const auto bytes = std::as_bytes(std::span(stripe.kept_));
  if (bytes.size() <= memory_left_) {
    memory_left_ -= bytes.size();
  } else {
    if (!file_) file_ = std::make_unique<pd::temp_file>();
    stripe.in_file_ = file_->append(bytes);
    stripe.kept_ = std::vector<std::uint16_t>();  // {} would keep its memory
  }
  stripes_.push_back(std::move(stripe));
}

std::size_t block_set::memory() const {
  std::size_t shorts = 0;
  for (const stripe_set& stripe : stripes_) shorts += stripe.kept_.capacity();
  return shorts * sizeof(std::uint16_t);
}

origin_range block_set::blocks(std::size_t stripe) const {
  return blocks_of_stripe(stripe, nr_blocks_);
}

// The run that reaches the end of a stripe.
std::uint64_t block_set::end_of_run(std::size_t stripe) const {
  std::uint64_t end = blocks(stripe).end;
  while (++stripe < stripes_.size()) {
    end += stripes_[stripe].leading_;
    if (end < blocks(stripe).end) break;
  }
  return end;
}

std::span<const std::uint16_t> block_set::kept_of(const stripe_set& stripe,
                                                  std::vector<std::uint16_t>& buffer) const {
  if (stripe.kept_.size() == stripe.size_) return stripe.kept_;
  buffer.resize(stripe.size_);
  file_->read(stripe.in_file_, std::as_writable_bytes(std::span(buffer)));
  return buffer;
}

std::span<const origin_range> block_set::runs(std::size_t stripe,
                                              std::vector<origin_range>& buffer) const {
  const stripe_set& chosen = stripes_[stripe];
  std::vector<std::uint16_t> read_again;
  const auto kept = kept_of(chosen, read_again);
  const origin_range in = blocks(stripe);
  std::size_t edges = 0;
  buffer.resize((chosen.edges_ + 1u) / 2);
  const auto take = [&](std::size_t edge) {
    origin_range& r = buffer[edges / 2];
    (edges++ % 2 == 0 ? r.begin : r.end) = in.begin + edge;
  };
  if (chosen.is_bitmap_) {
    std::vector<std::uint64_t> words(kept.size() / shorts_per_word);
    std::memcpy(words.data(), kept.data(), kept.size_bytes());
    for_each_edge(words, take);
  } else {
    std::for_each(kept.begin(), kept.end(), take);
  }
  // A run that continues from the stripe before was begun there.
  const bool begun = chosen.leading_ > 0 && stripe > 0 && stripes_[stripe - 1].goes_on_;
  const auto own = std::span(buffer).subspan(begun ? 1 : 0);
  if (chosen.goes_on_ && !own.empty()) own.back().end = end_of_run(stripe);
  return own;
}

bool block_set::overlaps(origin_range range) const {
  range = pd::intersection(range, {0, nr_blocks_});
  if (range.empty()) return false;
  const std::uint64_t end = std::min<std::uint64_t>(stripes_for(range.end), stripes_.size());
  for (std::uint64_t i = range.begin / blocks_per_stripe; i < end; ++i) {
    const origin_range in = blocks(i), part = pd::intersection(in, range);
    if (overlaps(i, {part.begin - in.begin, part.end - in.begin})) return true;
  }
  return false;
}

bool block_set::overlaps(std::size_t stripe, origin_range range) const {
  const stripe_set& chosen = stripes_[stripe];
  if (chosen.edges_ == 0) return false;
  std::vector<std::uint16_t> read_again;
  const auto kept = kept_of(chosen, read_again);
  if (chosen.is_bitmap_) {
    std::uint64_t word = 0;
    for (std::uint64_t i = range.begin; i < range.end; ++i) {
      std::memcpy(&word, &kept[i / bits_per_word * shorts_per_word], sizeof word);
      if (word >> i % bits_per_word & 1) return true;
    }
    return false;
  }
  // Edges up to the first block: an odd number if it is in the set.
  const auto after = std::upper_bound(kept.begin(), kept.end(), range.begin);
  return (after - kept.begin()) % 2 != 0 || (after != kept.end() && *after < range.end);
}

std::vector<pd::range> block_set::print_ranges() const {
  constexpr std::size_t enough = 10000;
  std::vector<pd::range> result;
  std::size_t runs = enough;
  for (std::size_t i = 0; i < stripes_.size(); ++i) {
    if (runs >= enough) {
      result.push_back({i, i});
      runs = 0;
    }
    result.back().end = i + 1;
    runs += 1 + stripes_[i].edges_ / 2;
  }
  return result;
}

void print_runs(const block_set& chosen, unsigned nr_workers, const run_formatter& print,
                const std::function<void(std::string_view)>& out) {
  const std::vector<pd::range> ranges = chosen.print_ranges();
  const auto new_worker = [&] {
    return [&, buffer = std::vector<origin_range>()](std::size_t i) mutable {
      text_buffer text;
      for (std::size_t stripe = ranges[i].begin; stripe < ranges[i].end; ++stripe)
        print(text, chosen.runs(stripe, buffer));
      return text;
    };
  };
  const auto use = [&](std::size_t, const text_buffer& text) { out(text.view()); };
  // More of them would only wait for the output, and hold text meanwhile.
  pd::in_order(std::min(nr_workers, 8u), ranges.size(), new_worker, use);
}

}  // namespace era
