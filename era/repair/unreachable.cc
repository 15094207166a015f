// SPDX-License-Identifier: GPL-3.0-or-later
// 1. The blocks are scanned, and those that their leaves lead to, whatever the space map counts of
//    these; intact leaves give array blocks their places.
// 2. The bitsets that leaves of the writeset tree name are mapped.
// 3. Blocks that these do not explain are noted: as lost, or as evidence of writes.
#include "era/repair/unreachable.h"

#include <algorithm>
#include <utility>

namespace era {
namespace {

// Maps the bitsets of these writesets. Returns which blocks of the device belong to one of them.
std::vector<bool> map_bitsets(const pd::block_device& device, const block_scan& scan,
                              std::span<const named_writeset> named, std::uint64_t nr_unreached,
                              const pd::progress_function& progress, unreachable_metadata& found) {
  std::vector<bool> placed(scan.nr_blocks());
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  pd::reference_counter counter(scan.nr_blocks(), pd::reference_counter::counting::no);
  pd::btree_walk walk(queue, counter);
  std::uint64_t mapped = 0;
  for (const named_writeset& ws : named) {
    progress();
    const std::uint64_t blocks = pd::array_blocks_for(bitset_words(ws.nr_bits), sizeof(pd::le64));
    bool whole = ws.nr_bits <= max_origin_blocks && blocks <= nr_unreached;
    // Each has a bitset of its own: together they are not more than there are blocks.
    mapped += blocks;
    if (mapped > nr_unreached) {
      found.too_many = true;
      found.explained = false;
      break;
    }
    if (whole) {
      unreachable_writeset ws_found{
          ws.era,
          pd::map_array(walk, std::nullopt, {ws.root}, {bitset_words(ws.nr_bits), sizeof(pd::le64)},
                        [&](const pd::block_error&) { whole = false; })};
      for (std::uint64_t i = 0; i < ws_found.bits.known_end(); ++i)
        if (const auto block = ws_found.bits.block(i)) placed[block->value] = true;
      found.writesets.push_back(std::move(ws_found));
    }
    found.explained = found.explained && whole;
  }
  return placed;
}

// Takes the blocks of mapped bitsets from the stray ones, and merges the bits of those that have no
// place.
void note_stray_bits(block_scan& scan, std::vector<bool> placed,
                     std::vector<pd::block_nr> unplaced_bits, unreachable_metadata& found) {
  found.bits.erase_blocks([&](pd::block_nr b) { return placed[b.value]; });
  for (const auto& entry : found.bits.of({0, max_origin_blocks})) placed[entry.block] = true;
  std::erase_if(unplaced_bits, [&](pd::block_nr b) { return placed[b.value]; });
  found.bits_anywhere = scan.merge_bits(unplaced_bits);
  found.explained = found.explained && unplaced_bits.empty();
}

// Notes the blocks that are of no use to the live metadata, or contradict it.
void note_unexplained(const block_scan& scan, std::span<const pd::block_nr> unreached,
                      unreachable_metadata& found) {
  for (const pd::block_nr b : unreached) {
    const block_class what = scan.class_of(b);
    if (what == block_class::impossible) found.has_evidence = true;
    // Another kind may be an outdated block, in place of one that was never written.
    if (what != block_class::bits && what != block_class::internal_node &&
        what != block_class::writeset_leaf && what != block_class::array_leaf)
      found.explained = false;
  }
  found.explained = found.explained && !found.has_evidence;
}

}  // namespace

unreachable_metadata find_unreachable(const pd::block_device& device,
                                      std::uint32_t nr_origin_blocks,
                                      std::span<const pd::block_nr> unreached,
                                      const pd::progress_function& progress) {
  unreachable_metadata found;
  block_scan scan(device);
  scan.scan(unreached, progress);
  scan.scan_children(progress);
  found.newest_era = scan.newest_era();
  std::vector<named_writeset> named;
  const bool all_named = scan.collect(named);
  block_scan::placed_blocks arrays = scan.place(nr_origin_blocks);
  found.bits = std::move(arrays.bits);
  found.lost_stripes = std::move(arrays.lost_bits);
  found.too_many = !all_named || !arrays.is_complete;
  found.explained = !found.too_many;
  std::vector<bool> placed = map_bitsets(device, scan, named, unreached.size(), progress, found);
  note_stray_bits(scan, std::move(placed), std::move(arrays.unplaced_bits), found);
  note_unexplained(scan, unreached, found);
  return found;
}

}  // namespace era
