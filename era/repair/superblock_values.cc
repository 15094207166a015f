// SPDX-License-Identifier: GPL-3.0-or-later
// Sound metadata outdoes the user: a value that contradicts it is refused, with the way out.
#include "era/repair/superblock_values.h"

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "era/metadata/metadata.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/read/array_map.h"
#include "persistent-data/read/btree_walk.h"
#include "persistent-data/read/reference_counter.h"

namespace era {

superblock_values::superblock_values(superblock& sb, const pd::block_device& device,
                                     const repair_options& given, const repair_report& report)
    : sb_(sb), device_(device), given_(given), report_(report) {}

void superblock_values::resolve_block_size(const std::optional<view_summary>& snapshot) {
  const std::uint32_t said = sb_.data_block_size;
  if (given_.block_size) {
    const bool is_confirmed = snapshot && snapshot->sb.data_block_size == *given_.block_size;
    if (*given_.block_size != said && is_possible_block_size(said) && !is_confirmed)
      throw pd::damaged_metadata(
          fmt::format("{}: --block-size {} cannot be: the superblock is sound, and says {} "
                      "sectors; leave the option out",
                      device_.path(), *given_.block_size, said));
    sb_.data_block_size = *given_.block_size;
    if (*given_.block_size != said)
      report_.assumption(
          fmt::format("the block size is {} sectors, as told; the superblock says {}",
                      *given_.block_size, said));
  } else if (!is_possible_block_size(said) && snapshot &&
             is_possible_block_size(snapshot->sb.data_block_size)) {
    sb_.data_block_size = snapshot->sb.data_block_size;
    report_.assumption(fmt::format("the block size is that of the metadata snapshot, {} sectors",
                                   std::uint32_t{sb_.data_block_size}));
  } else if (!is_possible_block_size(said)) {
    throw pd::damaged_metadata(fmt::format(
        "{}: the block size is lost; give it with --block-size SECTORS (the table line of the "
        "device has it)",
        device_.path()));
  }
}

// The array itself says how long it is. If it and the superblock disagree, the longer one is
// used: it loses no blocks.
void superblock_values::resolve_nr_blocks(pd::read_queue& queue, bool array_in_doubt) {
  const std::uint32_t told = sb_.nr_blocks;
  const std::uint64_t most = std::min<std::uint64_t>(
      max_origin_blocks, (std::min(device_.nr_blocks(), pd::max_metadata_blocks) - 1) *
                             std::uint64_t{eras_per_array_block});
  const bool plausible = told <= most;
  const auto measured = length_of_array(queue, plausible && sb_.current_nr_bits == told);
  const std::uint32_t length = measured.value_or(0);
  const std::uint32_t said = plausible ? told : 0;
  const std::uint32_t found =
      std::max({said, length, measured && !array_in_doubt ? 0 : longest_bitset(queue, most)});
  const std::string says = plausible ? fmt::format("the superblock says {}", told)
                                     : fmt::format(
                                           "the superblock says {}, which does not fit "
                                           "into the metadata",
                                           told);
  // The array has the blocks that it has; the superblock alone may be believed less than the
  // user.
  if (given_.nr_blocks && *given_.nr_blocks < (measured ? length : said))
    throw pd::damaged_metadata(fmt::format(
        "{}: --nr-blocks {} cannot be: {}{}; a number that is too large does no harm, since the "
        "kernel cuts what the device does not have",
        device_.path(), *given_.nr_blocks, says,
        measured ? fmt::format(", and the era array has {}", length) : ""));
  if (!given_.nr_blocks && !measured && !plausible)
    throw pd::damaged_metadata(
        fmt::format("{}: how many blocks the origin has is lost ({}); give it with --nr-blocks N "
                    "({})",
                    device_.path(), says, repair_options::about_nr_blocks));
  const std::uint32_t resolved = given_.nr_blocks.value_or(found);
  sb_.nr_blocks = resolved;
  if (resolved != told || (measured && length != told))
    report_.assumption(
        fmt::format("{} origin blocks{}; {}{}", resolved, given_.nr_blocks ? ", as told" : "", says,
                    measured ? fmt::format(", and the era array has {}", length) : ""));
}

// is_confirmed: a current writeset began with the superblock's number of blocks. A kernel that has
// made the array smaller may have left blocks after it then.
std::optional<std::uint32_t> superblock_values::length_of_array(pd::read_queue& queue,
                                                                bool is_confirmed) const {
  pd::reference_counter counter(device_.nr_blocks(), pd::reference_counter::counting::no);
  pd::btree_walk walk(queue, counter);
  std::optional<std::uint64_t> expected;
  if (is_confirmed) expected = sb_.nr_blocks;
  const auto measured = pd::measure_array(walk, {sb_.era_array_root}, expected);
  if (!measured || measured->value_size == sizeof(pd::le64) ||
      measured->nr_values > max_origin_blocks)
    return {};
  return static_cast<std::uint32_t>(measured->nr_values);
}

// Bits of the longest bitset that the metadata has room for. If the era array does not tell, the
// origin may have as many blocks.
std::uint32_t superblock_values::longest_bitset(pd::read_queue& queue, std::uint64_t most) const {
  pd::reference_counter counter(device_.nr_blocks(), pd::reference_counter::counting::no);
  pd::btree_walk walk(queue, counter);
  const metadata m = map_metadata(walk, given_.from, superblock_location, sb_, ignore_findings);
  std::uint32_t longest = sb_.current_nr_bits <= most ? std::uint32_t{sb_.current_nr_bits} : 0;
  for (const writeset& ws : m.writesets)
    if (ws.nr_bits <= most) longest = std::max(longest, ws.nr_bits);
  return longest;
}

resolved_era superblock_values::resolve_current_era(
    const era_clues& clues, const std::function<device_evidence()>& find_evidence) const {
  const std::uint32_t told = sb_.current_era;
  resolved_era result{.current = {told}, .least_current = {told}};
  result.is_outdated = clues.is_outdated || told > max_current_era || clues.newest_era > told;
  if (result.is_outdated) {
    const device_evidence found = find_evidence();
    require_size(found);
    result.current = {oldest_possible_era(found)};
    if (told > max_current_era) result.least_current = {0};
    report_.assumption(fmt::format(
        "the current era is {}: the superblock says {}, and may be outdated, since sound blocks "
        "contradict it; if it was a later one, give it with --current-era, or blocks written "
        "since will be missing from lists",
        result.current, told));
  }
  if (result.current.value == 0 && clues.has_lost_eras) {
    result.current = {1};
    report_.assumption(
        "the current era is 1, since a lost part of the writeset tree may have had writesets");
  }
  if (!given_.current_era) return result;
  const era_nr given{*given_.current_era};
  if (given < result.current)
    throw pd::damaged_metadata(
        fmt::format("{}: --current-era {} cannot be: the metadata goes on to era {}",
                    device_.path(), given, result.current));
  // The superblock would be outdated, and what was written since it is unknown.
  if (given > result.current) {
    result.is_told = true;
    report_.assumption(
        fmt::format("the current era is {}, as told; the superblock says {}", given, told));
  }
  result.current = result.least_current = given;
  return result;
}

// The current writeset is of a newer era than all that have a name.
std::uint32_t superblock_values::oldest_possible_era(const device_evidence& found) const {
  const std::uint32_t told = sb_.current_era;
  return std::max(told <= max_current_era ? told : 0, found.newest_era + 1);
}

// The device may have grown since.
void superblock_values::require_size(const device_evidence& found) const {
  const bool has_array = found.longest_array == sb_.nr_blocks;
  const bool may_have_grown = found.longest_array > sb_.nr_blocks || !found.has_all_arrays ||
                              (found.newest_era > sb_.current_era && !has_array);
  if (may_have_grown && !given_.nr_blocks)
    throw pd::damaged_metadata(fmt::format(
        "{}: the superblock of era {} may be outdated, since sound blocks contradict it; the "
        "newest era that any block names is {}, and the longest era array has {} blocks; give "
        "how many blocks the origin has, with --nr-blocks N ({})",
        device_.path(), std::uint32_t{sb_.current_era}, found.newest_era, found.longest_array,
        repair_options::about_nr_blocks));
}

}  // namespace era
