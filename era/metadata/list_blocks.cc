// SPDX-License-Identifier: GPL-3.0-or-later
// Stripes are filtered in parallel; only those in which something may be assumed are counted.
#include "era/metadata/list_blocks.h"

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "era/metadata/vectorized.h"
#include "persistent-data/format/divide_up.h"
#include "persistent-data/io/workers.h"

namespace era {
namespace {

struct listed_stripe {
  stripe_set chosen;
  std::uint64_t listed, in_doubt;
  std::vector<finding> findings;
};

std::uint64_t count_bits(std::span<const std::uint64_t> words) {
  const auto count_all = [](const std::uint64_t* word, std::size_t size) ERA_INLINE {
    std::uint64_t count = 0;
    for (std::size_t w = 0; w < size; ++w)
      count += static_cast<std::uint64_t>(std::popcount(word[w]));
    return count;
  };
  return vectorized(count_all, words.data(), words.size());
}

listed_stripe list_stripe(stripe_filter& filter, const metadata& m, std::uint64_t stripe) {
  std::vector<finding> findings;
  const auto words = filter.filter(stripe, findings);
  const auto size = static_cast<std::size_t>(stripe_blocks(m, stripe).size());
  return {stripe_set(words, size), count_bits(words), filter.nr_in_doubt(), std::move(findings)};
}

// Stripes in which an era may have to be assumed, ascending.
std::vector<std::uint64_t> stripes_in_doubt(const metadata& m) {
  const losses& lost = m.lost;
  const std::uint64_t stripes = nr_stripes(m);
  const bool in_all =
      lost.in_stripe.empty() || !lost.bits_anywhere.empty() || !lost.eras_anywhere.empty();
  // By stripe: how many more reasons for doubt begin there than end.
  std::vector<std::int64_t> begins(stripes + 1);
  const auto doubt = [&](std::uint64_t begin, std::uint64_t end) {
    ++begins[std::min(begin, stripes)];
    --begins[std::min(end, stripes)];
  };
  for (const auto& e : lost.ranges.all()) doubt(e.begin / blocks_per_stripe, stripes_for(e.end));
  for (const writeset& ws : m.writesets)
    if (ws.era_is_assumed) doubt(0, ws.bits.known_end());
  for (const auto& stray : lost.bits.all()) doubt(stray.index, stray.index + std::uint64_t{1});
  for (const auto& stray : lost.eras.all())
    doubt(stray.index / array_blocks_per_stripe, stray.index / array_blocks_per_stripe + 1);
  std::vector<std::uint64_t> found;
  std::int64_t reasons = in_all ? 1 : 0;
  for (std::uint64_t stripe = 0; stripe < stripes; ++stripe) {
    reasons += begins[stripe];
    if (reasons > 0 || lost.in_stripe[stripe]) found.push_back(stripe);
  }
  return found;
}

}  // namespace

change_list list_blocks(const metadata& m, const pd::block_device& device, const era_window& window,
                        loss_policy policy, const finding_sink& sink) {
  // A stripe is too little to hand from one thread to another.
  constexpr std::uint64_t stripes_per_item = 8;
  const std::uint64_t stripes = nr_stripes(m);
  change_list total{block_set(m.nr_blocks)};
  const auto stripes_of = [&](std::uint64_t item) {
    return pd::range{item * stripes_per_item, std::min((item + 1) * stripes_per_item, stripes)};
  };
  const auto new_worker = [&] {
    return pd::with_prefetch{
        stripe_filter(m, device, window, policy),
        [&](stripe_filter& filter, std::uint64_t item) {
          std::vector<listed_stripe> listed;
          for (std::uint64_t i = stripes_of(item).begin; i < stripes_of(item).end; ++i)
            listed.push_back(list_stripe(filter, m, i));
          return listed;
        },
        [&](stripe_filter& filter, std::uint64_t item) { filter.prefetch(stripes_of(item)); }};
  };
  const auto use = [&](std::uint64_t, std::vector<listed_stripe> listed) {
    for (listed_stripe& stripe : listed) {
      for (finding& f : stripe.findings) sink(std::move(f));
      total.listed += stripe.listed;
      total.in_doubt += stripe.in_doubt;
      total.blocks.add(std::move(stripe.chosen));
    }
  };
  const std::uint64_t items = pd::divide_up(stripes, stripes_per_item);
  pd::in_order(device.nr_workers(), items, new_worker, use);
  require_still_held(device, m);
  return total;
}

std::uint64_t count_assumed(const metadata& m, const pd::block_device& device) {
  const std::vector<std::uint64_t> suspects = stripes_in_doubt(m);
  const auto new_worker = [&] {
    return [&, folder = stripe_folder(m, device, fold_scope::everything,
                                      loss_policy::assume_written)](std::uint64_t i) mutable {
      std::vector<finding> none;
      folder.fold(suspects[i], none);
      return folder.nr_assumed();
    };
  };
  std::uint64_t assumed = 0;
  pd::in_order(device.nr_workers(), suspects.size(), new_worker,
               [&](std::uint64_t, std::uint64_t here) { assumed += here; });
  require_still_held(device, m);
  return assumed;
}

}  // namespace era
