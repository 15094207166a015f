// SPDX-License-Identifier: GPL-3.0-or-later
// Reads a batch of array blocks, validates each as it arrives, and hands over findings in the order
// of the positions.
#include "era/metadata/content.h"

#include <algorithm>
#include <bit>
#include <iterator>

#include <fmt/format.h>

#include "era/metadata/vectorized.h"

namespace era {

era_nr newest_era(std::span<const pd::le32> eras) {
  const auto newest_of = [](const pd::le32* values, std::size_t size) ERA_INLINE {
    constexpr std::size_t at_once = 32;
    std::uint32_t newest[at_once] = {};
    std::size_t done = 0;
    for (; size - done >= at_once; done += at_once)
      for (std::size_t i = 0; i < at_once; ++i)
        newest[i] = std::max<std::uint32_t>(newest[i], values[done + i]);
    for (std::size_t i = 0; i < size - done; ++i)
      newest[i] = std::max<std::uint32_t>(newest[i], values[done + i]);
    return *std::max_element(std::begin(newest), std::end(newest));
  };
  return {vectorized(newest_of, eras.data(), eras.size())};
}

origin_range array_position::origin_blocks() const noexcept {
  const pd::range values = map->values_of(index);
  if (where.what == part::era_array) return {values.begin, values.end};
  return pd::intersection(origin_range{values.begin * bits_per_word, values.end * bits_per_word},
                          {0, nr_bits});
}

std::optional<finding> find_future_eras(const array_position& at, const pd::block& b,
                                        era_nr current) {
  const auto eras = pd::array_values<pd::le32>(b);
  if (newest_era(eras) <= current) return {};

  std::uint64_t count = 0, first = 0, last = 0;
  std::uint32_t highest = 0;
  for (std::size_t i = 0; i < eras.size(); ++i) {
    if (eras[i] <= current.value) continue;
    if (count++ == 0) first = i;
    last = i;
    highest = std::max<std::uint32_t>(highest, eras[i]);
  }
  const std::uint64_t begin = at.map->values_of(at.index).begin;
  const pd::block_nr where = *at.map->block(at.index);
  return finding{at.where,
                 pd::one_block(where),
                 {pd::error_class::bad_value,
                  fmt::format("{} of its eras are past the current era {}; the highest is {}",
                              count, current, highest)},
                 {begin + first, begin + last + 1}};
}

std::optional<finding> find_surplus_bits(const array_position& at, const pd::block& b) {
  if (at.index + 1 != at.map->nr_blocks() || at.nr_bits % bits_per_word == 0) return {};
  const std::uint64_t last = pd::array_values<pd::le64>(b).back();
  const std::uint64_t surplus = last >> at.nr_bits % bits_per_word;
  if (surplus == 0) return {};
  const pd::block_nr where = *at.map->block(at.index);
  return finding{
      at.where,
      pd::one_block(where),
      {pd::error_class::bad_value, fmt::format("it has {} bits, and {} after them are set",
                                               at.nr_bits, std::popcount(surplus))},
      {}};
}

content_reader::content_reader(const pd::block_device& device)
    : queue_(device.make_engine(), device.nr_blocks(), device.make_engine()) {}

void content_reader::prefetch(std::span<const array_position> positions) {
  wanted_.clear();
  for (const array_position& at : positions)
    if (const auto block = at.map->block(at.index)) wanted_.push_back(*block);
  queue_.prefetch(wanted_);
}

void content_reader::read(std::span<const array_position> positions, const visitor& look,
                          std::vector<finding>& findings) {
  wanted_.clear();
  places_.clear();
  for (std::size_t k = 0; k < positions.size(); ++k)
    if (const auto block = positions[k].map->block(positions[k].index)) {
      wanted_.push_back(*block);
      places_.push_back(k);
    } else {
      look(k, nullptr);
    }
  found_.clear();
  queue_.read(wanted_, [&](std::size_t w, const pd::block* data, int error) {
    const std::size_t k = places_[w];
    const array_position& at = positions[k];
    if (auto wrong = at.map->validate_block(at.index, data, error)) {
      found_.push_back({k,
                        {at.where,
                         pd::one_block(wanted_[w]),
                         std::move(*wrong),
                         {at.origin_blocks().begin, at.origin_blocks().end}}});
      look(k, nullptr);
    } else if (auto content = look(k, data)) {
      found_.push_back({k, std::move(*content)});
    }
  });
  std::sort(found_.begin(), found_.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [k, f] : found_) findings.push_back(std::move(f));
}

void content_reader::read_strays(
    std::span<const stray_blocks::entry> strays, std::uint32_t value_size,
    const std::function<void(const stray_blocks::entry&, const pd::block*)>& look) {
  wanted_.clear();
  for (const stray_blocks::entry& stray : strays) wanted_.push_back({stray.block});
  queue_.read(wanted_, [&](std::size_t i, const pd::block* data, int) {
    look(strays[i], pd::is_sound_array_block(data, wanted_[i], value_size) ? data : nullptr);
  });
}

}  // namespace era
