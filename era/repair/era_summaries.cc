// SPDX-License-Identifier: GPL-3.0-or-later
// A block's summary is found by how many blocks of era arrays lie before it.
#include "era/repair/era_summaries.h"

#include <algorithm>

#include "era/metadata/content.h"
#include "persistent-data/format/array_block.h"

namespace era {

era_summaries::era_summaries(const block_scan& scan, pd::read_queue& queue)
    : scan_(scan), queue_(queue) {
  std::uint32_t count = 0;
  for (std::uint64_t b = 0; b < scan.nr_blocks(); ++b) {
    if (b % blocks_per_count == 0) before_.push_back(count);
    count += scan.class_of({b}) == block_class::eras;
  }
  newest_.resize(count);
  written_.resize(count, unknown);
}

era_summary era_summaries::of(std::span<const pd::block_nr> blocks) {
  constexpr std::size_t at_once = 4096;
  era_summary all;
  for (; !blocks.empty(); blocks = blocks.subspan(std::min(at_once, blocks.size())))
    add(blocks.first(std::min(at_once, blocks.size())), all);
  return all;
}

void era_summaries::add(std::span<const pd::block_nr> blocks, era_summary& all) {
  std::vector<std::uint64_t> indices;
  std::vector<pd::block_nr> unread;
  for (const pd::block_nr b : blocks) {
    if (scan_.class_of(b) != block_class::eras) continue;
    indices.push_back(index_of(b));
    if (written_[indices.back()] == unknown) unread.push_back(b);
  }
  read(unread);
  for (const std::uint64_t i : indices) {
    if (written_[i] == unknown) continue;
    all.newest = std::max(all.newest, newest_[i]);
    all.written += written_[i];
  }
}

std::uint64_t era_summaries::index_of(pd::block_nr where) const {
  const std::uint64_t run = where.value / blocks_per_count;
  std::uint64_t index = before_[run];
  for (std::uint64_t b = run * blocks_per_count; b < where.value; ++b)
    index += scan_.class_of({b}) == block_class::eras;
  return index;
}

void era_summaries::read(std::span<const pd::block_nr> blocks) {
  queue_.read(blocks, [&](std::size_t k, const pd::block* data, int) {
    if (!pd::is_sound_array_block(data, blocks[k], sizeof(pd::le32))) return;
    const std::uint64_t i = index_of(blocks[k]);
    const auto eras = pd::array_values<pd::le32>(*data);
    newest_[i] = newest_era(eras).value;
    written_[i] = static_cast<std::uint16_t>(
        std::count_if(eras.begin(), eras.end(), [](std::uint32_t era) { return era != 0; }));
  });
}

}  // namespace era
