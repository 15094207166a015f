// SPDX-License-Identifier: GPL-3.0-or-later
// A stripe at a time: filter, add what is in doubt.
#include "era/invalidate/invalidate.h"

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "era/check/check.h"
#include "era/view/stripe.h"
#include "persistent-data/io/workers.h"

namespace era {
namespace {

struct listed_stripe {
  chosen_stripe chosen;
  std::uint64_t listed, in_doubt;
  std::vector<finding> findings;
};

// Sets the bits of a range; returns how many were not yet set.
std::uint64_t set_bits(std::span<std::uint64_t> words, pd::range bits) {
  std::uint64_t added = 0;
  while (!bits.empty()) {
    std::uint64_t& word = words[bits.begin / bits_per_word];
    const std::uint64_t first = bits.begin % bits_per_word;
    const std::uint64_t size = std::min(bits.size(), bits_per_word - first);
    const std::uint64_t mask = ~std::uint64_t{0} >> (bits_per_word - size) << first;
    added += static_cast<std::uint64_t>(std::popcount(mask & ~word));
    word |= mask;
    bits.begin += size;
  }
  return added;
}

std::uint64_t count_bits(std::span<const std::uint64_t> words) {
  std::uint64_t count = 0;
  for (const std::uint64_t word : words) count += static_cast<std::uint64_t>(std::popcount(word));
  return count;
}

class stripe_lister {
 public:
  stripe_lister(const metadata& m, const pd::block_device& device, const era_window& window,
                const doubts& in_doubt)
      : metadata_(m), window_(window), in_doubt_(in_doubt), filter_(m, device, window) {}

  listed_stripe list(std::uint64_t stripe) {
    std::vector<finding> findings;
    const auto words = filter_.filter(stripe, findings);
    const std::uint64_t added = add_doubts(stripe, words, findings);
    const auto size = static_cast<std::size_t>(stripe_blocks(metadata_, stripe).size());
    return {chosen_stripe(words, size), count_bits(words), added, std::move(findings)};
  }

 private:
  std::uint64_t add_doubts(std::uint64_t stripe, std::span<std::uint64_t> words,
                           const std::vector<finding>& findings) const {
    const pd::range blocks = stripe_blocks(metadata_, stripe);
    std::uint64_t added = 0;
    const auto add = [&](pd::range doubted) {
      if (doubted.empty()) return;
      added += set_bits(words, {doubted.begin - blocks.begin, doubted.end - blocks.begin});
    };
    in_doubt_.within(blocks, add);
    for (const finding& f : findings)
      add(pd::intersection(doubted_blocks(f, window_, metadata_.sb.nr_blocks), blocks));
    return added;
  }

  const metadata& metadata_;
  const era_window& window_;
  const doubts& in_doubt_;
  stripe_filter filter_;
};

}  // namespace

listed_blocks list_blocks(const metadata& m, const pd::block_device& device,
                          const era_window& window, const doubts& in_doubt,
                          const finding_sink& sink) {
  // A stripe is too little to hand from one thread to another.
  constexpr std::uint64_t stripes_per_item = 8;
  const std::uint64_t stripes = nr_stripes(m);
  listed_blocks total{chosen_blocks(m.sb.nr_blocks)};
  const auto new_worker = [&] {
    return [&, lister = stripe_lister(m, device, window, in_doubt)](std::size_t item) mutable {
      std::vector<listed_stripe> listed;
      const std::uint64_t first = item * stripes_per_item;
      for (std::uint64_t i = first; i < std::min(first + stripes_per_item, stripes); ++i)
        listed.push_back(lister.list(i));
      return listed;
    };
  };
  const auto use = [&](std::size_t, std::vector<listed_stripe> listed) {
    for (listed_stripe& stripe : listed) {
      for (finding& f : stripe.findings) sink(std::move(f));
      total.listed += stripe.listed;
      total.in_doubt += stripe.in_doubt;
      total.blocks.add(std::move(stripe.chosen));
    }
  };
  const std::uint64_t items = (stripes + stripes_per_item - 1) / stripes_per_item;
  pd::in_order(device.nr_workers(), items, new_worker, use);
  return total;
}

changed_blocks::changed_blocks(const pd::block_device& device, source from,
                               const era_window& window, finding_sink sink)
    : device_(device), window_(window), sink_(std::move(sink)) {
  check_metadata(device, {from, false, false}, [this](finding f) { note(std::move(f)); });
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  std::vector<finding> again;
  metadata_ = open_metadata(queue, device, from, [&](finding f) { again.push_back(std::move(f)); });
  // What is met only the second time, such as a block that now cannot be read, counts as well.
  if (found_.empty())
    for (finding& f : again) note(std::move(f));
  if (!metadata_ || size_doubtful_) {
    metadata_.reset();
    return;
  }
  const std::uint32_t nr_blocks = metadata_->sb.nr_blocks;
  for (const auto& findings : {found_, again})
    for (const finding& f : findings) in_doubt_.add(doubted_blocks(f, window_, nr_blocks));
  in_doubt_.settle();
}

void changed_blocks::note(finding f) {
  if (!f.fatal() || f.where.what == part::space_map) return;
  damaged_ = true;
  size_doubtful_ = size_doubtful_ || is_size_doubtful(f);
  found_.push_back(f);
  sink_(std::move(f));
}

std::optional<listed_blocks> changed_blocks::list() {
  const pd::range all{0, metadata_->sb.nr_blocks};
  const bool first_attempt = !all_doubtful_;
  const finding_sink note_content = [&](finding f) {
    all_doubtful_ = all_doubtful_ || doubted_blocks(f, window_, metadata_->sb.nr_blocks) == all;
    if (first_attempt) note(std::move(f));
  };
  listed_blocks listed = list_blocks(*metadata_, device_, window_, in_doubt_, note_content);
  if (size_doubtful_) {
    metadata_.reset();
    return {};
  }
  if (!first_attempt || !all_doubtful_) return listed;
  in_doubt_.add(all);
  in_doubt_.settle();
  return {};
}

}  // namespace era
