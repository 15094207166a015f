// SPDX-License-Identifier: GPL-3.0-or-later
// 1. All metadata is checked; the references that contradict the space map or each other are noted.
// 2. The trees are walked again without the blocks that these put in doubt, and every block that
//    they reach is read. Each loss is noted by what it may hide: eras or origin blocks.
// 3. Writesets that the live trees have lost hold of are taken from the metadata snapshot, and from
//    blocks that are counted and not reached. If these explain all that is counted, no writeset is
//    missing; if not, all blocks count as written in the newest era that a loss may hide.
// 4. If the array then has an era that is newer than a writeset, all are folded into the array.
// Without a superblock, search.cc does it all.
//
// One rule decides in every phase: if a block breaks the format, or another block contradicts it,
// all that it could have led to is lost. An intact block that nothing explains is evidence of
// writes. So a size that no last block confirms may be larger, and a counted block that says what
// cannot be may have listed every block.
// If sound blocks contradict the superblock, it may be the one whose last writes were lost: then
// every block counts as written, and the era is a guess.
#include "era/repair/salvage.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "era/check/check.h"
#include "era/check/check_content.h"
#include "era/metadata/order.h"
#include "era/repair/noted_losses.h"
#include "era/repair/search.h"
#include "era/repair/superblock_values.h"
#include "era/repair/unreachable.h"

namespace era {
namespace {

using pd::error_class;

bool is_of_live_trees(const finding& f) {
  if (f.where.snapshot) return false;
  switch (f.where.what) {
    case part::writeset_tree:
    case part::writeset:
    case part::current_writeset:
    case part::era_array: return true;
    case part::superblock:
    case part::space_map:
    case part::reference_counts: return false;
  }
  return false;
}

bool is_of_array(const finding& f) { return f.where.what == part::era_array; }

class salvager {
 public:
  salvager(const pd::block_device& device, const repair_options& given, const repair_report& report,
           const pd::progress_function& progress)
      : device_(device),
        given_(given),
        report_(report),
        progress_(progress),
        queue_(device.make_engine(), device.nr_blocks(), device.make_engine()) {}

  metadata run() {
    const check_summary checked = check();
    const auto& view = is_live() ? checked.live : checked.snapshot;
    if (!view && is_live()) return search_metadata(device_, given_, report_, progress_);
    if (!view)
      throw pd::damaged_metadata(fmt::format(
          "{}: the superblock of the metadata snapshot is lost; repair the live metadata",
          device_.path()));
    if (!is_live()) snapshot_ = view;
    // Before much else is in memory.
    if (is_outdated_) evidence_ = find_evidence(device_, progress_);
    resolve_sizes(view->sb, checked);
    map(view->location, checked.suspects);
    find_unreachable_arrays(checked.suspects);
    resolve_era(checked.snapshot);
    collect_writesets(checked);
    result_.resolve();
    resolve_order();
    result_.lost.snapshot = is_live() && sb_.metadata_snap != 0;
    return std::move(result_);
  }

  // If it has read one.
  void require_snapshot_still_held() const {
    if (snapshot_) require_still_held(device_, snapshot_->location, snapshot_->sb.csum);
  }

 private:
  bool is_live() const { return given_.from == source::live; }

  // Reports damage of the superblock, and of whatever is not walked again: trees are, without what
  // the references put in doubt.
  check_summary check() {
    check_summary checked = check_metadata(
        device_, {.from = given_.from, .content = false, .references = is_live()}, [&](finding f) {
          if (is_contradiction(f)) is_outdated_ = true;
          if (is_live() ? is_of_live_trees(f) : f.where.what != part::superblock) return;
          // We do not know yet whether this is era metadata.
          if (f.where.what == part::superblock && f.error.type == error_class::wrong_kind)
            f.error.type = error_class::bad_checksum;
          report_.damage(std::move(f));
        });
    // A pointer to a block that is another's, too, is no pointer of sound metadata.
    if (!checked.suspects.contested.empty()) is_outdated_ = true;
    return checked;
  }

  void resolve_sizes(const superblock& found, const check_summary& checked) {
    sb_ = found;
    superblock_values values(sb_, device_, given_, report_);
    values.resolve_block_size(checked.snapshot);
    values.resolve_nr_blocks(queue_, !checked.suspects.contested.empty());
  }

  void find_unreachable_arrays(const suspect_references& suspects) {
    if (is_live() && !suspects.unreached.empty())
      unreachable_ = find_unreachable(device_, result_.nr_blocks, suspects.unreached, progress_);
  }

  // Takes those of the tree, those of the metadata snapshot, and those that nothing leads to, and
  // assumes those that may still be missing.
  void collect_writesets(const check_summary& checked) {
    const bool lost_current =
        era_was_told_ || is_outdated_ || (is_live() && may_have_lost_current(checked.suspects));
    place_writesets();
    const std::size_t nr_checked = result_.writesets.size();
    const bool is_adopted = is_live() && adopt_snapshot(checked);
    const bool all_found = is_live() && take_unreachable(checked.suspects) && is_adopted;
    // The content of blocks that only others lead to has not been checked.
    if (result_.writesets.size() == nr_checked)
      result_.lost.in_stripe = std::move(losses_.in_stripe);
    if (all_found && !losses_.eras.empty())
      assume("what the writeset tree has lost is all among them");
    if (lost_current) losses_.eras.push_back(every_era);
    if (!all_found || lost_current) fill_lost_eras();
  }

  void assume(std::string text) const { report_.assumption(std::move(text)); }

  void map(pd::block_nr location, const suspect_references& suspects) {
    pd::reference_counter counter(device_.nr_blocks(), pd::reference_counter::counting::no);
    for (const pd::block_nr b : suspects.contested) counter.exclude(b);
    pd::btree_walk walk(queue_, counter);
    const finding_sink sink = [this](finding f) { note(std::move(f)); };
    losses_ = noted_losses(sb_.nr_blocks);
    result_ = map_metadata(walk, given_.from, location, sb_, sink);
    progress_();
    newest_in_array_ = check_content(result_, device_, sink);
    losses_.sort();
    progress_();
  }

  void note(finding f) {
    if (is_contradiction(f)) is_outdated_ = true;
    losses_.note(f);
    report_.damage(std::move(f));
  }

  bool has_current() const { return given_.from == source::live && sb_.current_root != 0; }

  // A superblock that names no current writeset says that the last era has been archived. If
  // neither a writeset nor the array has that era, only the space map's counts can confirm it.
  bool may_have_lost_current(const suspect_references& suspects) const {
    if (has_current() || suspects.complete || sb_.current_era == 0) return false;
    const auto is_last = [&](era_nr era) { return era.value >= sb_.current_era; };
    return std::none_of(newest_in_array_.begin(), newest_in_array_.end(), is_last) &&
           std::none_of(result_.writesets.begin(), result_.writesets.end(),
                        [&](const writeset& ws) { return is_last(ws.era); });
  }

  // Is an archived writeset's era one that it can have? The current era's is archived only when a
  // device is suspended, and a metadata snapshot is taken of none that is.
  bool is_possible(const writeset& ws) const {
    const bool may_be_last = given_.from == source::live && !has_current();
    return ws.era.value != 0 && ws.era.value < sb_.current_era + (may_be_last ? 1u : 0u);
  }

  // An era from the future in the live trees is a contradiction, and noted as such.
  void resolve_era(const std::optional<view_summary>& snapshot) {
    era_clues clues{.is_outdated = is_outdated_,
                    .has_lost_eras = !losses_.eras.empty(),
                    .newest_era = unreachable_.newest_era};
    if (snapshot)
      clues.newest_era = std::max(clues.newest_era, std::uint32_t{snapshot->sb.current_era});
    const resolved_era era =
        superblock_values(sb_, device_, given_, report_).resolve_current_era(clues, [&] {
          if (!evidence_) evidence_ = find_evidence(device_, progress_);
          return *evidence_;
        });
    is_outdated_ = era.is_outdated;
    era_was_told_ = era.is_told;
    result_.current_era = era.current;
    result_.least_current_era = era.least_current;
    result_.newest_possible = {sb_.current_era};
    result_.lost.era_is_guess = is_outdated_ && !given_.current_era;
    result_.lost.may_be_too_new = is_outdated_;
  }

  // Takes a bitset as one that lists blocks that were written in its era. Bits past the origin's
  // end do not count: a size that nothing confirms is cut there.
  void take(writeset ws) {
    if (ws.bits.known_end() == 0)
      assume_written(ws.era, {0, ws.nr_bits});
    else
      result_.writesets.push_back(std::move(ws));
  }
  void assume_written(era_nr era, origin_range blocks) {
    result_.lost.ranges.add(era.value, blocks, result_.nr_blocks);
  }

  void place_writesets() {
    std::uint64_t impossible = 0;
    era_nr first_impossible;
    // Those that are kept go to the end: there may be too many for a second list.
    for (std::size_t n = result_.writesets.size(); n > 0; --n) {
      writeset ws = std::move(result_.writesets.front());
      result_.writesets.pop_front();
      const bool size_in_doubt = losses_.is_size_in_doubt(ws);
      const bool known =
          ws.is_current ? result_.current_era.value == sb_.current_era : is_possible(ws);
      if (!ws.is_current && !known && impossible++ == 0) first_impossible = ws.era;
      if (ws.is_current || !known) ws.era = result_.current_era;
      ws.era_is_assumed = !known;
      if (size_in_doubt) {
        if (ws.bits.known_end() > 0) assume_written(ws.era, {ws.nr_bits, result_.nr_blocks});
        ws.nr_bits = result_.nr_blocks;
      }
      take(std::move(ws));
    }
    if (impossible > 0)
      assume(impossible == 1
                 ? fmt::format("the writeset of impossible era {} is of era {}", first_impossible,
                               result_.current_era)
                 : fmt::format("{} writesets of impossible eras are of era {}; the first is of {}",
                               impossible, result_.current_era, first_impossible));
  }

  // A lost part of the live writeset tree may have led to bitsets that the snapshot shares. Those
  // are reached, so the space map's counts do not give them away as unreachable; their eras are in
  // the snapshot's own writeset tree. Returns false if that is damaged, too.
  bool adopt_snapshot(const check_summary& checked) {
    if (!checked.snapshot || (losses_.eras.empty() && checked.suspects.unreached.empty()))
      return true;
    bool is_whole = true;
    pd::reference_counter counter(device_.nr_blocks(), pd::reference_counter::counting::no);
    pd::btree_walk walk(queue_, counter);
    metadata snapshot =
        map_metadata(walk, source::snapshot, checked.snapshot->location, checked.snapshot->sb,
                     [&](const finding& f) { is_whole = is_whole && is_of_array(f); });
    progress_();
    if (!snapshot.writesets.empty())
      assume("the writesets of the metadata snapshot belong to the live metadata, too");
    for (; !snapshot.writesets.empty(); snapshot.writesets.pop_front()) {
      writeset& ws = snapshot.writesets.front();
      const bool known = is_possible(ws);
      take({.bits = std::move(ws.bits),
            .era = known ? ws.era : result_.current_era,
            .nr_bits = result_.nr_blocks,
            .era_is_assumed = !known});
    }
    return is_whole;
  }

  // Returns whether all that the live metadata has lost hold of is among them.
  bool take_unreachable(const suspect_references& suspects) {
    if (suspects.unreached.empty()) return suspects.complete && suspects.contested.empty();
    unreachable_metadata& found = unreachable_;
    const era_nr current = result_.current_era;
    era_nr oldest = current, newest;
    for (unreachable_writeset& ws : found.writesets) {
      const bool known = ws.era != 0 && ws.era <= current.value;
      const era_nr era = known ? era_nr{static_cast<std::uint32_t>(ws.era)} : current;
      oldest = std::min(oldest, era);
      newest = std::max(newest, era);
      // Nothing confirms its size: what it has lost counts up to the end of the origin.
      take({.bits = std::move(ws.bits),
            .era = era,
            .nr_bits = result_.nr_blocks,
            .era_is_assumed = !known});
    }
    if (const std::size_t n = found.writesets.size(); n == 1)
      assume(fmt::format("a writeset that nothing leads to is of era {}", newest));
    else if (n > 1)
      assume(fmt::format("{} writesets that nothing leads to are of eras {} to {}", n, oldest,
                         newest));
    if (!found.bits.empty()) {
      assume(
          fmt::format("blocks in bitsets that nothing leads to were written in era {}", current));
      result_.lost.bits = std::move(found.bits);
    }
    if (!found.bits_anywhere.empty()) {
      assume("blocks of bitsets whose place nothing tells count at every place");
      result_.lost.bits_anywhere = std::move(found.bits_anywhere);
    }
    for (std::uint64_t stripe = 0; stripe < found.lost_stripes.size(); ++stripe)
      if (found.lost_stripes[stripe])
        assume_written(current, blocks_of_stripe(stripe, result_.nr_blocks));
    if (found.too_many || found.has_evidence) losses_.eras.push_back(every_era);
    return suspects.complete && suspects.contested.empty() && found.explained;
  }

  void fill_lost_eras() {
    std::set<std::uint32_t> eras;
    for (const pd::range& lost : losses_.eras)
      eras.insert(static_cast<std::uint32_t>(
          std::clamp<std::uint64_t>(lost.end - 1, 1, std::max(result_.current_era.value, 1u))));
    for (const std::uint32_t era : eras) {
      assume(fmt::format("all blocks were written in era {}, since {} may have listed them", era,
                         is_outdated_ || era_was_told_ ? "what the superblock does not lead to"
                                                       : "a lost part of the writeset tree"));
      assume_written({era}, {0, result_.nr_blocks});
    }
  }

  // Blocks whose era the array has lost count as written in the current one.
  void resolve_order() {
    newest_in_array_.resize(nr_stripes(result_));
    for (const pd::range& lost : losses_.blocks_of_array)
      for (std::uint64_t s = lost.begin / blocks_per_stripe;
           s < newest_in_array_.size() && s * blocks_per_stripe < lost.end; ++s)
        newest_in_array_[s] = result_.current_era;
    // Ranges are large, so they are not compared block by block.
    const auto& ranges = result_.lost.ranges.all();
    bool& must_fold = result_.lost.must_fold;
    must_fold = !ranges.empty() && std::any_of(newest_in_array_.begin(), newest_in_array_.end(),
                                               [&](era_nr e) { return e.value > ranges[0].era; });
    if (!must_fold)
      find_out_of_order(
          result_, device_, loss_policy::assume_written, newest_in_array_,
          [&](const out_of_order&) { must_fold = true; }, ignore_findings);
    if (must_fold)
      assume(
          "all writesets are digested, since digestion would replace newer eras of the era array "
          "with older ones");
  }

  const pd::block_device& device_;
  const repair_options& given_;
  const repair_report& report_;
  const pd::progress_function& progress_;
  pd::read_queue queue_;
  std::optional<view_summary> snapshot_;
  superblock sb_{};
  metadata result_;
  unreachable_metadata unreachable_;
  std::optional<device_evidence> evidence_;
  noted_losses losses_;
  bool era_was_told_ = false;            // a later one than the metadata has
  bool is_outdated_ = false;             // the superblock may be: sound blocks contradict it
  std::vector<era_nr> newest_in_array_;  // by stripe
};

}  // namespace

metadata salvage_metadata(const pd::block_device& device, const repair_options& given,
                          const repair_report& report, const pd::progress_function& progress) {
  salvager work(device, given, report, progress);
  try {
    metadata saved = work.run();
    require_still_held(device, saved);
    return saved;
  } catch (const pd::damaged_metadata&) {
    work.require_snapshot_still_held();
    throw;
  }
}

}  // namespace era
