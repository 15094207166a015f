// SPDX-License-Identifier: GPL-3.0-or-later
// Mappings come by ascending cache block, so the list is built stripe by stripe while the dump is
// read.
#include "era/cache/stale_blocks.h"

#include <algorithm>
#include <cassert>
#include <optional>
#include <utility>
#include <vector>

#include "era/format/writeset.h"

namespace era {
namespace {

// Makes a block_set of ascending blocks.
class block_set_builder {
 public:
  block_set_builder(block_set& to, std::uint64_t nr_blocks) : to_(to), nr_blocks_(nr_blocks) {}

  void add(std::uint64_t block) {
    while (block / blocks_per_stripe > stripe_) finish_stripe();
    const std::uint64_t bit = block % blocks_per_stripe;
    words_.resize(bitset_words(blocks_of_stripe(stripe_, nr_blocks_).size()));
    words_[bit / bits_per_word] |= std::uint64_t{1} << bit % bits_per_word;
  }
  // Stripes after the last block are left out.
  void finish() {
    if (!words_.empty()) finish_stripe();
  }

 private:
  void finish_stripe() {
    const auto size = static_cast<std::size_t>(blocks_of_stripe(stripe_, nr_blocks_).size());
    words_.resize(bitset_words(size));
    to_.add(stripe_set(words_, size));
    words_.clear();
    ++stripe_;
  }

  block_set& to_;
  std::uint64_t nr_blocks_, stripe_ = 0;
  std::vector<std::uint64_t> words_;  // empty, or those of the stripe
};

class stale_block_finder : public cache_mapping_sink {
 public:
  stale_block_finder(const block_set& changed, const era_device_place& place)
      : changed_(changed), place_(place) {}

  void begin(const cache_geometry& cache) override {
    found_.emplace(cache);
    builder_.emplace(found_->blocks, cache.nr_blocks);
  }

  void add(const cache_mapping& m) override {
    const std::uint64_t size = found_->cache.block_size;
    const origin_range below =
        era_blocks_of(place_, m.volume_block * size, (m.volume_block + 1) * size);
    if (below.empty() || !(m.is_dirty || changed_.overlaps(below))) return;
    builder_->add(m.cache_block);
    ++found_->listed;
    found_->dirty += m.is_dirty;
  }

  stale_blocks finish() {
    builder_->finish();
    return std::move(*found_);
  }

 private:
  const block_set& changed_;
  era_device_place place_;
  std::optional<stale_blocks> found_;
  std::optional<block_set_builder> builder_;
};

}  // namespace

origin_range era_blocks_of(const era_device_place& place, std::uint64_t begin, std::uint64_t end) {
  assert(place.block_size > 0);
  if (end <= place.offset || begin >= end) return {};
  const std::uint64_t from = std::max(begin, place.offset) - place.offset;
  const std::uint64_t last = end - place.offset - 1;
  return pd::intersection(origin_range{from / place.block_size, last / place.block_size + 1},
                          {0, place.nr_blocks});
}

stale_blocks list_stale_blocks(const xml::byte_source& dump, const std::string& name,
                               const block_set& changed, const era_device_place& place) {
  stale_block_finder finder(changed, place);
  read_cache_dump(dump, name, finder);
  return finder.finish();
}

}  // namespace era
