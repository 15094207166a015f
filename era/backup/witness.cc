// SPDX-License-Identifier: GPL-3.0-or-later
// Device and eras are divided into buckets. Each bucket keeps the block whose number, mixed with
// the seed, is lowest: a choice at random that stripes can make on their own and then compare.
#include "era/backup/witness.h"

#include <algorithm>
#include <limits>

#include "era/metadata/stripe.h"
#include "persistent-data/io/workers.h"

namespace era {
namespace {

struct candidate {
  std::uint64_t rank = std::numeric_limits<std::uint64_t>::max();
  witness chosen{};
};

// A finalizer that spreads every bit of its input over all bits of the result.
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// Values below 2^32 in buckets of nearly equal sizes, none of them empty.
class buckets {
 public:
  buckets(std::size_t how_many, std::uint64_t nr_values)
      : how_many_(std::min<std::uint64_t>(how_many, nr_values)),
        nr_values_(std::max<std::uint64_t>(1, nr_values)) {}

  std::size_t of(std::uint64_t value) const {
    return static_cast<std::size_t>(value * how_many_ / nr_values_);
  }

 private:
  std::uint64_t how_many_, nr_values_;
};

void take(std::vector<candidate>& of, std::size_t bucket, const candidate& c) {
  if (bucket >= of.size()) of.resize(bucket + 1);
  if (c.rank < of[bucket].rank) of[bucket] = c;
}

struct candidates {
  std::vector<candidate> by_place, by_era;  // by bucket
};

}  // namespace

std::vector<witness> choose_witnesses(const metadata& m, const pd::block_device& device,
                                      std::uint64_t seed, std::size_t most) {
  const buckets places(std::max<std::size_t>(1, most / 2), m.nr_blocks);
  // Blocks that were never written have a bucket of their own: any era beside them would be rare.
  const buckets eras(std::max<std::size_t>(2, most / 2) - 1, m.newest_possible.value);
  const auto bucket_of_era = [&](std::uint32_t era) { return era == 0 ? 0 : 1 + eras.of(era - 1); };
  const auto new_worker = [&] {
    return pd::with_prefetch{
        stripe_folder(m, device, fold_scope::everything, loss_policy::assume_written),
        [&](stripe_folder& folder, std::size_t stripe) {
          candidates found;
          std::vector<finding> none;
          const auto assumed = folder.fold(stripe, none);
          const auto known = folder.known();
          const std::uint64_t first = stripe_blocks(m, stripe).begin;
          // Most neighbours are in the same bucket: the table of eras is a short one.
          for (std::size_t i = 0; i < known.size(); ++i) {
            if (known[i] != assumed[i]) continue;
            const auto block = static_cast<std::uint32_t>(first + i);
            const candidate c{mix(block ^ seed), {block, known[i]}};
            take(found.by_place, places.of(block) - places.of(first), c);
            take(found.by_era, bucket_of_era(known[i]), c);
          }
          return found;
        },
        [](stripe_folder& folder, std::size_t stripe) {
          folder.prefetch({stripe, stripe + 1});
        }};
  };
  candidates all;
  pd::in_order(device.nr_workers(), nr_stripes(m), new_worker,
               [&](std::size_t stripe, const candidates& found) {
                 const std::size_t first = places.of(stripe_blocks(m, stripe).begin);
                 for (std::size_t i = 0; i < found.by_place.size(); ++i)
                   take(all.by_place, first + i, found.by_place[i]);
                 for (std::size_t i = 0; i < found.by_era.size(); ++i)
                   take(all.by_era, i, found.by_era[i]);
               });
  require_still_held(device, m);
  std::vector<witness> result;
  for (const auto* candidates : {&all.by_place, &all.by_era})
    for (const candidate& c : *candidates)
      if (c.rank != candidate().rank) result.push_back(c.chosen);
  std::sort(result.begin(), result.end(),
            [](const witness& a, const witness& b) { return a.block < b.block; });
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

std::optional<contradiction> find_contradiction(const std::vector<witness>& noted, era_nr later,
                                                const metadata& m, const pd::block_device& device) {
  std::vector<std::span<const witness>> by_stripe;
  for (auto at = noted.begin(); at != noted.end() && at->block < m.nr_blocks;) {
    const std::uint64_t end =
        std::min<std::uint64_t>(stripe_blocks(m, at->block / blocks_per_stripe).end, m.nr_blocks);
    const auto next =
        std::find_if(at, noted.end(), [&](const witness& w) { return w.block >= end; });
    by_stripe.emplace_back(at, next);
    at = next;
  }
  const auto new_worker = [&] {
    return [&, folder = stripe_folder(m, device, fold_scope::everything,
                                      loss_policy::assume_written)](std::size_t i) mutable {
      std::optional<contradiction> result;
      std::vector<finding> none;
      const std::uint64_t stripe = by_stripe[i].front().block / blocks_per_stripe;
      const auto assumed = folder.fold(stripe, none);
      const auto known = folder.known();
      const std::uint64_t first = stripe_blocks(m, stripe).begin;
      for (const witness& w : by_stripe[i]) {
        // The truth is one of the eras from the first to the second.
        const std::uint32_t least = known[w.block - first], most = assumed[w.block - first];
        const bool has_stayed = least <= w.era && w.era <= most;
        const bool is_later = most >= std::max(later.value, w.era);
        if (!has_stayed && !is_later && !result) result = contradiction{w, least};
      }
      return result;
    };
  };
  std::optional<contradiction> first;
  pd::in_order(device.nr_workers(), by_stripe.size(), new_worker,
               [&](std::size_t, const std::optional<contradiction>& found) {
                 if (!first) first = found;
               });
  require_still_held(device, m);
  return first;
}

}  // namespace era
