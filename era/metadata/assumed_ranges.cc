// SPDX-License-Identifier: GPL-3.0-or-later
// 1. Ranges are taken from the newest era to the oldest. A stripe belongs to the first that covers
//    all of it; what is taken is skipped by a table of the next stripe that is not, which is
//    shortened at each look, so that all ranges together take little more than a pass.
// 2. A range covers at most two stripes in part: the one in which it begins, and the one in which
//    it ends. A part is kept only if it reaches further than all newer parts of its stripe.
#include "era/metadata/assumed_ranges.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "era/format/writeset.h"
#include "persistent-data/format/divide_up.h"

namespace era {
namespace {

constexpr std::uint64_t stripe_size = bits_per_bitset_block;

std::uint64_t first_whole(const assumed_ranges::entry& e) {
  return pd::divide_up(e.begin, stripe_size);
}
std::uint64_t end_of_whole(const assumed_ranges::entry& e) {
  return std::max(first_whole(e), e.end / stripe_size);
}

}  // namespace

void assumed_ranges::add(std::uint32_t era, origin_range blocks, std::uint32_t nr_blocks) {
  const origin_range cut = pd::intersection(blocks, {0, nr_blocks});
  if (cut.empty()) return;
  entries_.push_back(
      {era, static_cast<std::uint32_t>(cut.begin), static_cast<std::uint32_t>(cut.end)});
}

void assumed_ranges::resolve() {
  std::sort(entries_.begin(), entries_.end(), [](const entry& a, const entry& b) {
    return std::tie(a.era, a.begin, a.end) < std::tie(b.era, b.begin, b.end);
  });
  resolve_whole_stripes();
  resolve_partial_stripes();
}

void assumed_ranges::resolve_whole_stripes() {
  std::uint64_t stripes = 0;
  for (const entry& e : entries_) stripes = std::max(stripes, end_of_whole(e));
  whole_.assign(stripes, 0);
  std::vector<std::uint32_t> next(stripes + 1);
  std::iota(next.begin(), next.end(), 0u);
  const auto next_free = [&](std::uint64_t stripe) {
    auto i = static_cast<std::uint32_t>(stripe);
    while (next[i] != i) i = next[i] = next[next[i]];
    return i;
  };
  for (auto e = entries_.rbegin(); e != entries_.rend(); ++e) {
    const std::uint64_t end = end_of_whole(*e);
    if (first_whole(*e) >= end) continue;
    for (std::uint32_t s = next_free(first_whole(*e)); s < end; s = next_free(s)) {
      whole_[s] = e->era;
      next[s] = s + 1;
    }
  }
}

void assumed_ranges::resolve_partial_stripes() {
  std::uint64_t stripes = 0;
  for (const entry& e : entries_)
    stripes = std::max<std::uint64_t>(stripes, (e.end - 1) / stripe_size + 1);
  // Newer parts cover a stripe up to `end`, and from `begin` on.
  struct cover {
    std::uint32_t end = 0, begin = stripe_size;
  };
  std::vector<cover> covers(stripes);
  const auto add = [&](std::uint64_t stripe, const entry& e) {
    if (stripe < whole_.size() && whole_[stripe] >= e.era) return;
    const std::uint64_t first = stripe * stripe_size;
    const origin_range part =
        pd::intersection(origin_range{e.begin, e.end}, {first, first + stripe_size});
    if (part.size() == stripe_size) return;
    const partial p{static_cast<std::uint32_t>(stripe), e.era,
                    static_cast<std::uint16_t>(part.begin - first),
                    static_cast<std::uint16_t>(part.end - first)};
    cover& c = covers[stripe];
    if (p.end <= c.end || p.begin >= c.begin) return;
    if (p.begin <= c.end) c.end = p.end;
    if (p.end == stripe_size) c.begin = std::min<std::uint32_t>(c.begin, p.begin);
    partials_.push_back(p);
  };
  for (auto e = entries_.rbegin(); e != entries_.rend(); ++e) {
    const std::uint64_t first = e->begin / stripe_size, last = (e->end - 1) / stripe_size;
    add(first, *e);
    if (last != first) add(last, *e);
  }
  std::sort(partials_.begin(), partials_.end(),
            [](const partial& a, const partial& b) { return a.stripe < b.stripe; });
}

assumed_ranges::entries assumed_ranges::of_era(std::uint32_t era) const noexcept {
  const auto [begin, end] =
      std::equal_range(entries_.begin(), entries_.end(), entry{era, 0, 0},
                       [](const entry& a, const entry& b) { return a.era < b.era; });
  return {begin, end};
}

void assumed_ranges::parts_of(std::uint64_t stripe, std::vector<stripe_part>& parts) const {
  if (stripe < whole_.size() && whole_[stripe] != 0)
    parts.push_back({0, static_cast<std::uint32_t>(stripe_size), {whole_[stripe]}});
  const auto first = std::lower_bound(partials_.begin(), partials_.end(), stripe,
                                      [](const partial& p, auto s) { return p.stripe < s; });
  for (auto p = first; p != partials_.end() && p->stripe == stripe; ++p)
    parts.push_back({p->begin, p->end, {p->era}});
}

}  // namespace era
