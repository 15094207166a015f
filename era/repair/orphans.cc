// SPDX-License-Identifier: GPL-3.0-or-later
// See orphans.h.
#include "era/repair/orphans.h"

#include <algorithm>

namespace era {

orphans find_orphans(pd::read_queue& queue, std::uint64_t nr_metadata_blocks,
                     std::span<const pd::block_nr> unreached, const std::function<void()>& step) {
  orphans found;
  block_survey survey(queue, nr_metadata_blocks);
  survey.survey(unreached, step);
  std::vector<named_writeset> named;
  loose_blocks eras;
  const bool all_named = survey.collect(named), all_bits = survey.collect(eras, found.bits);
  found.too_many = !all_named || !all_bits;
  found.explained = !found.too_many;

  std::vector<bool> placed(survey.nr_blocks());
  pd::block_ledger ledger(survey.nr_blocks(), pd::block_ledger::counting::no);
  pd::btree_walk walk(queue, ledger);
  std::uint64_t mapped = 0;
  for (const named_writeset& ws : named) {
    step();
    const std::uint64_t blocks = pd::array_blocks_for(bitset_words(ws.nr_bits), sizeof(pd::le64));
    bool whole = ws.nr_bits <= max_origin_blocks && blocks <= unreached.size();
    // Each has a bitset of its own: together they are not more than there are blocks.
    mapped += blocks;
    if (mapped > unreached.size()) {
      found.too_many = true;
      found.explained = false;
      break;
    }
    if (whole) {
      orphaned_writeset orphan{
          ws.era, ws.nr_bits,
          pd::map_array(walk, std::nullopt, {ws.root}, bitset_words(ws.nr_bits), sizeof(pd::le64),
                        [&](const pd::damage&) { whole = false; })};
      for (std::uint64_t i = 0; i < orphan.bits.known_end(); ++i)
        if (const auto block = orphan.bits.block(i)) placed[block->value] = true;
      found.writesets.push_back(std::move(orphan));
    }
    found.explained = found.explained && whole;
  }
  found.bits.erase_blocks([&](pd::block_nr b) { return placed[b.value]; });
  for (const auto& entry : found.bits.of({0, max_origin_blocks})) placed[entry.block] = true;
  for (const pd::block_nr b : unreached) {
    const block_class what = survey.class_of(b);
    if (what == block_class::junk || what == block_class::zero ||
        (what == block_class::bits && !placed[b.value]))
      found.explained = false;
  }
  return found;
}

}  // namespace era
