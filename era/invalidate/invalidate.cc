// SPDX-License-Identifier: GPL-3.0-or-later
// A stripe at a time.
#include "era/invalidate/invalidate.h"

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "era/check/check.h"
#include "era/metadata/stripe.h"
#include "persistent-data/io/workers.h"

namespace era {
namespace {

struct listed_stripe {
  stripe_set chosen;
  std::uint64_t listed, in_doubt;
  std::vector<finding> findings;
};

std::uint64_t count_bits(std::span<const std::uint64_t> words) {
  std::uint64_t count = 0;
  for (const std::uint64_t word : words) count += static_cast<std::uint64_t>(std::popcount(word));
  return count;
}

class stripe_lister {
 public:
  stripe_lister(const metadata& m, const pd::block_device& device, const era_window& window)
      : metadata_(m), filter_(m, device, window) {}

  listed_stripe list(std::uint64_t stripe) {
    std::vector<finding> findings;
    const auto words = filter_.filter(stripe, findings);
    const auto size = static_cast<std::size_t>(stripe_blocks(metadata_, stripe).size());
    return {stripe_set(words, size), count_bits(words), 0, std::move(findings)};
  }

 private:
  const metadata& metadata_;
  stripe_filter filter_;
};

class salvaged_lister {
 public:
  salvaged_lister(const salvaged& s, const pd::block_device& device, const era_window& window)
      : window_(window), folder_(s, device), searched_(s.searched) {}

  listed_stripe list(std::uint64_t stripe) {
    folder_.fold(stripe);
    const auto known = folder_.known(), assumed = folder_.assumed();
    std::vector<std::uint64_t> words(bitset_words(known.size()));
    std::uint64_t in_doubt = 0;
    for (std::size_t i = 0; i < known.size(); ++i) {
      // Nothing found without a superblock is sure not to be too new.
      if (assumed[i] < window_.begin || (known[i] >= window_.end && !searched_)) continue;
      words[i / bits_per_word] |= std::uint64_t{1} << i % bits_per_word;
      in_doubt += known[i] < window_.begin || assumed[i] >= window_.end;
    }
    return {stripe_set(words, known.size()), count_bits(words), in_doubt, {}};
  }

 private:
  const era_window& window_;
  salvaged_folder folder_;
  bool searched_;
};

// Lister: made in each thread from what new_lister() returns.
template <class NewLister>
listed_blocks list_stripes(std::uint32_t nr_blocks, const pd::block_device& device,
                           NewLister new_lister, const finding_sink& sink) {
  // A stripe is too little to hand from one thread to another.
  constexpr std::uint64_t stripes_per_item = 8;
  const std::uint64_t stripes = (nr_blocks + blocks_per_stripe - 1) / blocks_per_stripe;
  listed_blocks total{block_set(nr_blocks)};
  const auto new_worker = [&] {
    return [&, lister = new_lister()](std::size_t item) mutable {
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

}  // namespace

listed_blocks list_blocks(const metadata& m, const pd::block_device& device,
                          const era_window& window, const finding_sink& sink) {
  return list_stripes(
      m.sb.nr_blocks, device, [&] { return stripe_lister(m, device, window); }, sink);
}

listed_blocks list_blocks(const salvaged& s, const pd::block_device& device,
                          const era_window& window) {
  return list_stripes(
      s.nr_blocks, device, [&] { return salvaged_lister(s, device, window); },
      [](const finding&) {});
}

changed_blocks::changed_blocks(const pd::block_device& device, source from, finding_sink sink)
    : device_(device), sink_(std::move(sink)) {
  check_summary checked = check_metadata(device, {.from = from, .content = false, .maps = true},
                                         [this](finding f) { note(std::move(f)); });
  if (!damaged_) metadata_ = std::move(checked.mapped);
}

void changed_blocks::note(finding f) {
  if (!f.fatal() || f.where.what == part::space_map) {
    has_doubts_ = true;
    return;
  }
  damaged_ = true;
  sink_(std::move(f));
}

std::optional<listed_blocks> changed_blocks::list(const era_window& window) {
  if (damaged_ || !metadata_) return {};
  listed_blocks listed =
      list_blocks(*metadata_, device_, window, [this](finding f) { note(std::move(f)); });
  if (damaged_) return {};
  return listed;
}

}  // namespace era
