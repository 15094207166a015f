// SPDX-License-Identifier: GPL-3.0-or-later
// The order of the check, and the comparison of the space map with what was found.
#include "era/check/check.h"

#include <algorithm>
#include <utility>

#include "era/check/check_content.h"
#include "era/check/cut_off.h"
#include "persistent-data/read/space_map_reader.h"

namespace era {
namespace {

using pd::error_class;

class checker {
 public:
  checker(const pd::block_device& device, const check_scope& scope, const finding_sink& sink)
      : device_(device),
        scope_(scope),
        sink_(sink),
        queue_(device.make_engine(), device.nr_blocks()),
        walk_queue_(device.make_engine(), device.nr_blocks(), device.make_engine()),
        counter_(device.nr_blocks(), pd::reference_counter::counting::yes),
        walk_(walk_queue_, counter_) {}

  check_summary check() {
    summary_.nr_metadata_blocks = device_.nr_blocks();
    const bool live_device = scope_.from == source::snapshot;
    const auto how = live_device ? superblock_reading::until_whole : superblock_reading::once;
    const auto sb = read_superblock(queue_, device_.nr_blocks(), superblock_location, how, sink_);
    if (!sb) return std::move(summary_);
    summary_.live = view_summary{*sb, superblock_location};
    if (live_device)
      check_live_snapshot(*sb);
    else if (!scope_.superblock_only)
      check_all(*sb);
    return std::move(summary_);
  }

 private:
  void check_all(const superblock& sb) {
    if (metadata m = check_view(source::live, superblock_location, sb, *summary_.live); scope_.maps)
      summary_.mapped = std::move(m);
    const pd::space_map counts = pd::read_space_map(
        walk_, sb.space_map, watched(sink_of({part::space_map}, sink_, 1, counter_.nr_blocks())));
    if (sb.metadata_snap != 0) check_snapshot(sb);
    check_references(counts, sb);
    if (scope_.references) list_suspects(counts);
  }

  // The live metadata changes while it is looked at: only its superblock and what the snapshot
  // holds can be checked.
  void check_live_snapshot(const superblock& sb) {
    require_snapshot(device_, sb);
    const pd::block_nr where{sb.metadata_snap};
    const auto snap = read_snapshot_superblock(queue_, device_.nr_blocks(), sb, sink_);
    std::optional<metadata> m;
    std::optional<std::uint32_t> csum;
    if (snap) {
      csum = snap->csum;
      summary_.snapshot = view_summary{*snap, where};
      if (!scope_.superblock_only)
        m = check_view(source::snapshot, where, *snap, *summary_.snapshot);
    }
    require_still_held(device_, where, csum);
    if (scope_.maps) summary_.mapped = std::move(m);
  }

  void check_snapshot(const superblock& sb) {
    const pd::block_nr where{sb.metadata_snap};
    const auto reached = counter_.reach(std::nullopt, where);
    if (reached == pd::reach_result::outside) {  // reported with the superblock
      trees_hide_ = true;
      return;
    }
    if (reached == pd::reach_result::again)
      sink_({{part::superblock, {}, true},
             pd::one_block(where),
             {error_class::cross_linked, "the block belongs to the live metadata, too"},
             {}});
    counter_.next_view();
    const auto snap = read_snapshot_superblock(queue_, device_.nr_blocks(), sb, sink_);
    if (!snap) {
      trees_hide_ = true;
      return;
    }
    summary_.snapshot = view_summary{*snap, where};
    check_view(source::snapshot, where, *snap, *summary_.snapshot);
  }

  metadata check_view(source from, pd::block_nr location, const superblock& sb,
                      view_summary& summary) {
    const finding_sink watch = [this](finding f) {
      if (pd::row_of(f.error.type).hidden == pd::references::hidden) trees_hide_ = true;
      sink_(std::move(f));
    };
    metadata m = map_metadata(walk_, from, location, sb, watch);
    // A caller who asks for the live metadata reads its arrays, and not those of the snapshot. But
    // an outdated superblock may lead to an old snapshot whose blocks were used again.
    const bool is_beside_live = from == source::snapshot && scope_.from == source::live;
    if (scope_.content || is_beside_live) check_content(m, device_, sink_);
    summary.array_blocks = m.eras.nr_blocks();
    for (const writeset& ws : m.writesets) {
      summary.bitset_blocks += ws.bits.nr_blocks();
      if (!ws.is_current) ++summary.archived_writesets;
    }
    return m;
  }

  // Damage to a block of the space map hides its references to other blocks of the space map.
  pd::block_error_sink watched(pd::block_error_sink sink) {
    return [this, sink = std::move(sink)](const pd::block_error& d) {
      if (pd::row_of(d.error.type).hidden != pd::references::kept) space_map_hides_ = true;
      counts_in_doubt_ = true;
      sink(d);
    };
  }

  void check_references(const pd::space_map& counts, const superblock& sb) {
    summary_.blocks_in_use = sb.space_map.nr_allocated;
    summary_.leaks_checked = !trees_hide_ && !space_map_hides_;
    const std::vector<bool> lists_writes = find_cut_off(counts);
    for (std::uint64_t b = 0; b < counter_.nr_blocks(); ++b) {
      const std::uint32_t found = counter_.references({b});
      if (b >= counts.nr_blocks()) {
        // If the space map could not be read at all, that has been reported.
        if (found > 0 && counts.nr_blocks() > 0)
          report(b, error_class::count_too_low,
                 "the block is in use, and past the space map's end");
        continue;
      }
      const auto counted = counts.count({b});
      if (!counted || *counted == found) continue;
      if (*counted < found)
        report(
            b, error_class::count_too_low,
            fmt::format("the space map counts {} references, and there are {}", *counted, found));
      else if (lists_writes[b])
        report(b, error_class::cut_off,
               "the space map counts it, and nothing leads to it, but its content is that of "
               "writesets");
      else if (summary_.leaks_checked)
        report(
            b, error_class::count_too_high,
            fmt::format("the space map counts {} references, and there are {}", *counted, found));
    }
  }

  // Counted, and more often than they are reached, and not at all from the live superblock.
  bool is_unreached(pd::block_nr b, std::uint64_t counted) const {
    return counted > counter_.references(b) && !counter_.in_first_view(b);
  }

  // The unreached blocks that may have listed writes, by number; none if damaged trees hide what
  // they refer to.
  std::vector<bool> find_cut_off(const pd::space_map& counts) {
    std::vector<bool> found(counter_.nr_blocks());
    if (trees_hide_) return found;
    std::vector<pd::block_nr> unreached;
    const auto read = [&] {
      queue_.read(unreached, [&](std::size_t i, const pd::block* data, int) {
        found[unreached[i].value] = data && may_list_writes(*data, unreached[i]);
      });
      unreached.clear();
    };
    for (std::uint64_t b = 1; b < std::min(counter_.nr_blocks(), counts.nr_blocks()); ++b) {
      if (const auto counted = counts.count({b}); counted && is_unreached({b}, *counted))
        unreached.push_back({b});
      if (unreached.size() == blocks_at_once) read();
    }
    read();
    return found;
  }

  void list_suspects(const pd::space_map& counts) {
    suspect_references& suspects = summary_.suspects;
    suspects.complete = counts.nr_blocks() > 0 && !counts_in_doubt_;
    for (std::uint64_t b = 1; b < counter_.nr_blocks(); ++b) {
      const std::uint32_t found = counter_.references({b});
      const bool is_past_end = b >= counts.nr_blocks();
      std::optional<std::uint32_t> counted;
      if (!is_past_end) counted = counts.count({b});
      if (!counted && (!is_past_end || found > 0)) suspects.complete = false;
      if (counter_.is_cross_linked({b}) || counted.value_or(found) < found)
        suspects.contested.push_back({b});
      if (counted && is_unreached({b}, *counted)) suspects.unreached.push_back({b});
    }
  }

  void report(std::uint64_t block, error_class what, std::string detail) {
    sink_({{part::reference_counts}, pd::one_block({block}), {what, std::move(detail)}, {}});
  }

  static constexpr std::size_t blocks_at_once = 4096;

  const pd::block_device& device_;
  const check_scope& scope_;
  const finding_sink& sink_;
  // The superblocks of a live device are read again, never from blocks that were read ahead.
  pd::read_queue queue_, walk_queue_;
  pd::reference_counter counter_;
  pd::btree_walk walk_;
  check_summary summary_;
  bool trees_hide_ = false, space_map_hides_ = false;  // does damage to these hide references?
  bool counts_in_doubt_ = false;                       // the space map contradicts itself
};

}  // namespace

check_summary check_metadata(const pd::block_device& device, const check_scope& scope,
                             const finding_sink& sink) {
  return checker(device, scope, sink).check();
}

}  // namespace era
