// SPDX-License-Identifier: GPL-3.0-or-later
// Scanning, judging candidates, and what can be proven.
#include "era/repair/search.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "era/repair/block_scan.h"
#include "era/repair/era_summaries.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

constexpr std::uint64_t most_candidates = 4096;

// Returns the number of origin blocks of the era array that has this root; nullopt if none can.
std::optional<std::uint32_t> length_of_array(pd::btree_walk& walk, pd::reference_counter& counter,
                                             pd::block_nr root) {
  counter.forget();
  const auto measured = pd::measure_array(walk, root);
  if (!measured || measured->value_size != sizeof(pd::le32) ||
      measured->nr_values > max_origin_blocks)
    return {};
  return static_cast<std::uint32_t>(measured->nr_values);
}

// A root that an era array may have.
struct candidate {
  pd::block_nr root;
  std::uint32_t nr_blocks = 0;  // of the origin
  pd::array_map map;
  bool whole = false;  // all of its blocks are there
  era_summary eras;
};

// The better one first.
bool is_better(const candidate& a, const candidate& b) {
  const auto rank = [](const candidate& c) {
    return std::tuple(c.whole, c.nr_blocks, c.eras.newest, c.eras.written, c.root.value);
  };
  return rank(a) > rank(b);
}

std::string in_words(const candidate& c) {
  return fmt::format("block {} ({} origin blocks, newest era {}, {} of them written{})", c.root,
                     c.nr_blocks, c.eras.newest, c.eras.written, c.whole ? "" : ", incomplete");
}

class searcher {
 public:
  searcher(const pd::block_device& device, const repair_options& given, const repair_report& report,
           const pd::progress_function& progress)
      : device_(device),
        given_(given),
        report_(report),
        progress_(progress),
        queue_(device.make_engine(), device.nr_blocks()),
        scan_(device),
        counter_(device.nr_blocks(), pd::reference_counter::counting::no_but_forgets),
        walk_(queue_, counter_) {}

  metadata run() {
    read_first_block();
    scan_.scan_all(progress_);
    if (scan_.all(block_class::array_leaf).empty())
      fail("there is no era metadata here, and nothing that could be saved");
    resolve_era();
    judge_candidates();
    const std::uint64_t gaps = count_gaps();
    const bool whole = gaps == 0 && !candidates_.empty() && candidates_.front().whole;
    resolve_nr_blocks(whole);
    resolve_block_size();
    if (!whole || !collect()) {
      assume(fmt::format(
          "all blocks were written in era {}, since not only the superblock is lost: {}",
          result_.current_era,
          gaps > 0 ? fmt::format("{} more metadata blocks are damaged, or were never used, which "
                                 "cannot be told",
                                 gaps)
          : whole  ? "there are more blocks of arrays than sound metadata has"
                   : "no era array is whole"));
      result_.lost = {};
      result_.eras = pd::array_map({result_.nr_blocks, sizeof(pd::le32)});
    }
    result_.lost.may_be_too_new = result_.lost.must_fold = true;
    result_.lost.era_is_guess = !given_.current_era;
    result_.resolve();
    return std::move(result_);
  }

 private:
  void assume(std::string text) const { report_.assumption(std::move(text)); }
  [[noreturn]] void fail(std::string_view why) const {
    throw pd::damaged_metadata(fmt::format("{}: {}", device_.path(), why));
  }

  void read_first_block() {
    std::optional<std::string> foreign;
    queue_.read(std::span(&superblock_location, 1), [&](std::size_t, const pd::block* data, int) {
      if (!data || pd::is_zero(*data)) return;
      first_ = data->as<superblock>();
      // A checksum that is salted as here tells more than a magic number.
      const bool is_ours = !pd::validate(superblock_kind, *data, superblock_location);
      if (!is_ours && first_.magic != superblock_magic) foreign = recognize(*data);
    });
    if (foreign) fail(*foreign);
  }

  void resolve_era() {
    const std::uint32_t newest = scan_.newest_era();
    // The current writeset is of a newer era than all that have a name.
    if (given_.current_era && *given_.current_era <= newest)
      fail(
          fmt::format("--current-era {} cannot be: the metadata goes on to era {}, and what has no "
                      "era any more may be newer; it has to be {} or later",
                      *given_.current_era, newest, newest + 1));
    result_.current_era = {given_.current_era.value_or(newest + 1)};
    result_.least_current_era = {given_.current_era.value_or(newest)};
    result_.newest_possible = {newest};
    if (given_.current_era) return;
    assume(fmt::format(
        "the current era is {}: {} is the newest that any block names; if it was a later one, give "
        "it with --current-era, or blocks written since will be missing from lists",
        result_.current_era, newest));
  }

  void judge_candidates() {
    summaries_.emplace(scan_, queue_);
    for (const pd::block_nr root : scan_.possible_array_roots(most_candidates + 1)) {
      progress_();
      if (nr_judged_++ < most_candidates) judge(root);
    }
    std::sort(candidates_.begin(), candidates_.end(), is_better);
    summaries_.reset();
  }

  void judge(pd::block_nr root) {
    const auto length = length_of_array(walk_, counter_, root);
    if (!length) return;
    candidate c;
    c.root = root;
    c.nr_blocks = *length;
    c.map = map_of(root, c.nr_blocks);
    c.whole = true;
    std::vector<pd::block_nr> blocks;
    for (std::uint64_t i = 0; i < c.map.nr_blocks(); ++i) {
      const auto where = c.map.block(i);
      c.whole = c.whole && where && scan_.class_of(*where) == block_class::eras;
      if (where) blocks.push_back(*where);
    }
    c.eras = summaries_->of(blocks);
    // The best few are all that is of interest.
    candidates_.push_back(std::move(c));
    if (candidates_.size() < 2 * reported) return;
    std::sort(candidates_.begin(), candidates_.end(), is_better);
    candidates_.resize(reported);
  }

  std::optional<pd::array_shape> measure(pd::block_nr root) {
    counter_.forget();
    return pd::measure_array(walk_, root);
  }

  pd::array_map map_of(pd::block_nr root, std::uint32_t nr_blocks) {
    counter_.forget();
    return pd::map_array(walk_, std::nullopt, root, {nr_blocks, sizeof(pd::le32)},
                         [](const pd::block_error&) {});
  }

  // whole: nothing but the superblock is lost, so that the longest array is no outdated one.
  void resolve_nr_blocks(bool whole) {
    const bool judged_all = nr_judged_ <= most_candidates;
    // The array may be of a time when the device was larger: only the user can know.
    if (given_.nr_blocks && !candidates_.empty() &&
        *given_.nr_blocks < candidates_.front().nr_blocks)
      assume(fmt::format("{} origin blocks, as told; there is an era array of {}, which is cut",
                         *given_.nr_blocks, candidates_.front().nr_blocks));
    if (given_.nr_blocks)
      result_.nr_blocks = *given_.nr_blocks;
    else if (whole && judged_all)
      result_.nr_blocks = candidates_.front().nr_blocks;
    else
      fail(fmt::format(
          "how many blocks the origin has is lost with the superblock; give it with --nr-blocks N "
          "({}{})",
          repair_options::about_nr_blocks,
          candidates_.empty() ? ""
                              : fmt::format("; the longest era array that is found has {}",
                                            candidates_.front().nr_blocks)));
    if (!whole) return;
    assume(fmt::format("the era array is that of {}", in_words(candidates_.front())));
    for (std::size_t i = 1; i < std::min(candidates_.size(), reported); ++i)
      assume(fmt::format("it could also be that of {}", in_words(candidates_[i])));
    if (!given_.nr_blocks)
      assume(fmt::format("{} origin blocks, the length of that array; --nr-blocks changes it",
                         result_.nr_blocks));
    result_.eras = map_of(candidates_.front().root, result_.nr_blocks);
  }

  // A metadata snapshot's superblock has the block size. But one may also be left of another life
  // of the device, with another geometry.
  void resolve_block_size() {
    const superblock* copy = nullptr;
    const superblock* other = nullptr;  // one that does not fit, or contradicts one that does
    bool contradicted = false;
    for (const superblock& sb : scan_.superblocks())
      if (!fits(sb)) {
        if (!other) other = &sb;
      } else if (!copy || copy->data_block_size == sb.data_block_size) {
        copy = &sb;
      } else {
        other = &sb;
        contradicted = true;
      }
    const std::uint32_t seems = first_.data_block_size;
    const bool plausible = first_.magic == superblock_magic && is_possible_block_size(seems);
    if (contradicted || (copy && plausible && copy->data_block_size != seems)) {
      if (!contradicted) other = copy;
      copy = nullptr;
    }
    if (given_.block_size) {
      result_.block_size = *given_.block_size;
      if (copy && copy->data_block_size != result_.block_size)
        assume(
            fmt::format("the block size is {} sectors, as told; a metadata snapshot of era {} "
                        "says {}",
                        result_.block_size, std::uint32_t{copy->current_era},
                        std::uint32_t{copy->data_block_size}));
    } else if (copy) {
      result_.block_size = copy->data_block_size;
      assume(fmt::format("the block size is that of a metadata snapshot of era {}, {} sectors",
                         std::uint32_t{copy->current_era}, result_.block_size));
    } else {
      fail(fmt::format(
          "the block size is lost with the superblock; give it with --block-size "
          "SECTORS (the table line of the device has it{}{})",
          plausible ? fmt::format("; what is left of the superblock says {}", seems) : "",
          other
              ? fmt::format("; a metadata snapshot of {} origin blocks of {} sectors was here once",
                            std::uint32_t{other->nr_blocks}, std::uint32_t{other->data_block_size})
              : ""));
    }
  }

  // Is this the superblock of a metadata snapshot that was held when the live superblock was lost?
  // Then the device has not been resized since, and what it holds is still in place.
  bool fits(const superblock& sb) {
    if (sb.nr_blocks != result_.nr_blocks) return false;
    if (!check_superblock(sb, device_.nr_blocks(), superblock_copy::of_snapshot).empty())
      return false;
    const auto array = measure({sb.era_array_root});
    const block_class tree = scan_.class_of({sb.writeset_tree_root});
    return array && array->nr_values == sb.nr_blocks &&
           (array->value_size == sizeof(pd::le32) || array->value_size == 0) &&
           (tree == block_class::writeset_leaf || tree == block_class::internal_node);
  }

  // The kernel fills the device from its beginning: the part that it has never used lies after all
  // that it has used, and is zeros if the device was new. Anything else may be a part that is lost;
  // so are zeros that a node leads to.
  std::uint64_t count_gaps() {
    const std::uint64_t end_of_children = std::min(scan_.end_of_children(), scan_.nr_blocks());
    std::uint64_t used = scan_.nr_blocks(), gaps = 0;
    while (used > std::max<std::uint64_t>(end_of_children, 1) &&
           scan_.class_of({used - 1}) == block_class::zero)
      --used;
    for (std::uint64_t b = 1; b < used; ++b) {
      const block_class what = scan_.class_of({b});
      if (what == block_class::zero || what == block_class::invalid ||
          what == block_class::impossible)
        ++gaps;
    }
    return gaps;
  }

  // Takes all that any version of the arrays says; the newest era counts. Leaves of the writeset
  // tree are of no use: an outdated one may name a block that is part of the current writeset by
  // now, under an era that is too old. Returns false if there is too much.
  bool collect() {
    block_scan::placed_blocks found = scan_.place(result_.nr_blocks);
    if (!found.is_complete) return false;
    result_.lost.eras = std::move(found.eras);
    result_.lost.bits = std::move(found.bits);
    std::vector<bool> placed(scan_.nr_blocks());
    for (std::uint64_t i = 0; i < result_.eras.nr_blocks(); ++i)
      if (const auto block = result_.eras.block(i)) placed[block->value] = true;
    const auto is_placed = [&](pd::block_nr b) { return placed[b.value]; };
    result_.lost.eras.erase_blocks(is_placed);
    std::erase_if(found.unplaced_eras, is_placed);
    take_unplaced(found.unplaced_eras, found.unplaced_bits);
    if (!result_.lost.bits.empty())
      assume(
          fmt::format("all blocks in bitsets were written in era {}, since which is the current "
                      "writeset is unknown",
                      result_.current_era));
    return true;
  }

  // A block whose place nothing tells counts at every place.
  void take_unplaced(std::span<const pd::block_nr> eras, std::span<const pd::block_nr> bits) {
    if (!eras.empty()) result_.lost.eras_anywhere.assign(eras_per_array_block, pd::le32(0));
    queue_.read(eras, [&](std::size_t n, const pd::block* data, int) {
      if (!pd::is_sound_array_block(data, eras[n], sizeof(pd::le32)))
        return result_.lost.eras_anywhere.assign(eras_per_array_block,
                                                 pd::le32(result_.current_era.value));
      const auto values = pd::array_room<pd::le32>(*data);
      for (std::size_t i = 0; i < values.size(); ++i)
        result_.lost.eras_anywhere[i] =
            std::max<std::uint32_t>(result_.lost.eras_anywhere[i],
                                    std::min<std::uint32_t>(values[i], result_.current_era.value));
    });
    result_.lost.bits_anywhere = scan_.merge_bits(bits);
    if (const std::size_t n = eras.size() + bits.size(); n > 0)
      assume(
          fmt::format("{} blocks of arrays count at every place, since nothing tells theirs", n));
  }

  static constexpr std::size_t reported = 4;

  const pd::block_device& device_;
  const repair_options& given_;
  const repair_report& report_;
  const pd::progress_function& progress_;
  pd::read_queue queue_;
  block_scan scan_;
  pd::reference_counter counter_;  // for one array at a time
  pd::btree_walk walk_;
  std::optional<era_summaries> summaries_;
  superblock first_{};
  std::vector<candidate> candidates_;
  std::uint64_t nr_judged_ = 0;
  metadata result_;
};

}  // namespace

metadata search_metadata(const pd::block_device& device, const repair_options& given,
                         const repair_report& report, const pd::progress_function& progress) {
  return searcher(device, given, report, progress).run();
}

device_evidence find_evidence(const pd::block_device& device,
                              const pd::progress_function& progress) {
  block_scan scan(device);
  scan.scan_all(progress);
  device_evidence found{.newest_era = scan.newest_era()};
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  pd::reference_counter counter(device.nr_blocks(),
                                pd::reference_counter::counting::no_but_forgets);
  pd::btree_walk walk(queue, counter);
  std::uint64_t nr_judged = 0;
  for (const pd::block_nr root : scan.possible_array_roots(most_candidates + 1)) {
    progress();
    found.has_all_arrays = ++nr_judged <= most_candidates;
    if (!found.has_all_arrays) break;
    found.longest_array =
        std::max(found.longest_array, length_of_array(walk, counter, root).value_or(0));
  }
  return found;
}

}  // namespace era
