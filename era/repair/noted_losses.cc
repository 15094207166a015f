// SPDX-License-Identifier: GPL-3.0-or-later
// All that the damage could have led to is lost.
#include "era/repair/noted_losses.h"

#include <algorithm>

#include "era/metadata/stripe.h"

namespace era {

noted_losses::noted_losses(std::uint32_t nr_origin_blocks)
    : in_stripe(stripes_for(nr_origin_blocks)), nr_origin_blocks_(nr_origin_blocks) {}

void noted_losses::note(const finding& f) {
  const bool keys_doubted = pd::row_of(f.error.type).key_trust == pd::keys::doubted;
  switch (f.where.what) {
    case part::writeset_tree: {
      // A writeset of an impossible era is there, and only its era is lost.
      const bool is_there =
          f.error.type == pd::error_class::bad_value && f.hidden.begin <= last_era_of_a_key;
      // Keys that contradict each other may hide other eras than they say.
      if (!f.hidden.empty() && !is_there) eras.push_back(keys_doubted ? every_era : f.hidden);
      break;
    }
    case part::writeset:
    case part::current_writeset:
      note_blocks(f.hidden);
      if (f.error.type == pd::error_class::out_of_order) break;
      if (f.where.what == part::current_writeset)
        current_size_in_doubt_ = true;
      else if (sizes_in_doubt_.empty() || sizes_in_doubt_.back() != f.where.era.value)
        sizes_in_doubt_.push_back(f.where.era.value);
      break;
    case part::era_array:
      note_blocks(f.hidden);
      if (!f.hidden.empty()) blocks_of_array.push_back(f.hidden);
      break;
    case part::superblock:
    case part::space_map:
    case part::reference_counts: break;
  }
}

void noted_losses::note_blocks(pd::range blocks) {
  const std::uint64_t end = stripes_for(std::min<std::uint64_t>(blocks.end, nr_origin_blocks_));
  for (std::uint64_t i = blocks.begin / blocks_per_stripe; i < end; ++i) in_stripe[i] = true;
}

void noted_losses::sort() { std::sort(sizes_in_doubt_.begin(), sizes_in_doubt_.end()); }

bool noted_losses::is_size_in_doubt(const writeset& ws) const {
  if (ws.nr_bits > max_origin_blocks) return true;
  if (ws.is_current) return current_size_in_doubt_;
  return std::binary_search(sizes_in_doubt_.begin(), sizes_in_doubt_.end(), ws.era.value);
}

}  // namespace era
