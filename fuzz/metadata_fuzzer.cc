// SPDX-License-Identifier: GPL-3.0-or-later
// Changed metadata through check, dump, list, repair, restore and the target.
//
// If the check finds nothing: dump, restore and dump again are the same; the list is that of the
// logical dump; the target opens it, writes and digests, and it is clean again. If it finds
// something: the repair's output is clean; and if no changed block has a right checksum, no origin
// block has an older era than it had.
#include <fmt/format.h>

#include <array>
#include <memory>
#include <optional>

#include "era/check/change_lister.h"
#include "era/check/check.h"
#include "era/dm_target/target.h"
#include "era/metadata/list_blocks.h"
#include "era/sim/origin.h"
#include "era/testing/listed.h"
#include "era/testing/round_trip.h"
#include "functional-tests/repair_judge.h"
#include "fuzz/edits.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/testing/recording_store.h"

namespace era::fuzz {
namespace {

constexpr std::uint64_t nr_metadata_blocks = 96;
constexpr std::uint32_t block_size = 8;

// Sound metadata that inputs begin with.
struct base {
  pd::test::scratch_device device{nr_metadata_blocks};
  std::vector<const pd::block_kind*> kinds;
  sweep::folded truth;
  std::uint32_t nr_blocks = 0;
};

std::unique_ptr<base> make_base(unsigned which) {
  auto made = std::make_unique<base>();
  constexpr std::array<std::uint32_t, 5> sizes{60, 1018, 1100, 70, 2036};
  made->nr_blocks = sizes[which % sizes.size()];
  pd::test::recording_store store(made->device);
  sim::no_origin origin;
  target t(store, origin, {block_size, std::uint64_t{made->nr_blocks} * block_size});
  t.resume();
  for (std::uint64_t era = 0; era < (which == 4 ? 12 : 3 + which); ++era) {
    for (std::uint64_t i = 0; i < 5; ++i)
      t.write((era * 977 + i * 211) % made->nr_blocks * block_size, block_size, [] {});
    if (era == 1 && which % 2 == 0) t.message("take_metadata_snap");
    t.message("checkpoint");
    if (which != 4) t.digest(which);
  }
  t.write(std::uint64_t{5} * block_size, block_size, [] {});
  if (which == 3)
    t.suspend();
  else
    t.status();
  made->kinds = kinds_of(made->device);
  made->truth = sweep::fold(made->device.path());
  if (!made->truth.wrong.empty()) fail("the base is not sound: " + made->truth.wrong);
  return made;
}

const base& base_of(unsigned which) {
  static std::array<std::unique_ptr<base>, 5> all;
  auto& found = all[which % all.size()];
  if (!found) found = make_base(which % all.size());
  return *found;
}

std::string listed(const change_list& all) {
  std::string text;
  const run_formatter print = [](text_buffer& buffer, std::span<const origin_range> runs) {
    for (const origin_range& r : runs) buffer.append(fmt::format("{} {}\n", r.begin, r.end));
  };
  print_runs(all.blocks, 1, print, [&](std::string_view piece) { text += piece; });
  return text;
}

// Opens the metadata, and does what a device's life has. Returns false if an error ended it.
bool use_target(pd::test::scratch_device& device) {
  const superblock sb = device[superblock_location].as<superblock>();
  pd::test::recording_store store(device);
  sim::no_origin origin;
  try {
    if (sb.nr_blocks > 1'000'000) return false;
    const std::uint32_t size = sb.data_block_size;
    target t(store, origin, {size, std::uint64_t{sb.nr_blocks} * size});
    t.resume();
    if (sb.nr_blocks > 0) t.write(0, 1, [] {});
    t.message("checkpoint");
    if (sb.nr_blocks > 3) t.write((std::uint64_t{sb.nr_blocks} - 2) * size, 1, [] {});
    for (int i = 0; i < 10'000 && t.digest(16) > 0; ++i) t.status();
    t.message(sb.metadata_snap == 0 ? "take_metadata_snap" : "drop_metadata_snap");
    t.set_length(std::uint64_t{sb.nr_blocks + 1100} * size);
    t.suspend();
    t.resume();
    t.suspend();
    return true;
  } catch (const pd::error&) {
    return false;
  }
}

void judge_clean(pd::test::scratch_device& device, const std::string& edits) {
  const std::string& path = device.path();
  static pd::test::scratch_device restored(512);
  const sweep::folded all = sweep::fold(path);
  if (!all.wrong.empty()) fail(edits + "is clean, and cannot be folded: " + all.wrong);
  for (const bool compact : {false, true}) {
    if (all.eras.size() > (compact ? 100'000u : 100u)) continue;
    const std::string xml = test::dump_of(path, {.logical = false, .compact = compact});
    if (const std::string why = test::restore_to(restored.path(), xml); !why.empty())
      fail(edits + "is clean, and its dump is not restored: " + why);
    if (test::dump_of(restored.path(), {.logical = false, .compact = compact}) != xml)
      fail(edits + "dump, restore, dump is not the same");
  }
  pd::block_device opened(path, pd::access::shared);
  change_lister changed(opened, source::live, [](const finding&) {});
  for (const std::uint64_t since : {std::uint64_t{1}, std::uint64_t{all.current_era}}) {
    const auto list = changed.list({since, std::uint64_t{1} << 32});
    if (!list || listed(*list) != test::listed_since(all.eras, since))
      fail(edits + "the list is wrong");
  }
  if (use_target(device))
    if (const std::string wrong = test::findings_in(path); !wrong.empty())
      fail(edits + "was clean, and is not after the target: " + wrong);
}

void judge_damaged(pd::test::scratch_device& device, const base& from, const edit_result& edits) {
  static sweep::repair_judge judge(512);
  repair_options given;
  given.block_size = block_size;
  given.nr_blocks = from.nr_blocks;
  // Only the user can know the current era if the superblock is lost.
  if (edits.superblock) given.current_era = from.truth.current_era;
  const bool is_bound = edits.all_break_checksums;
  sweep::folded nothing;
  const std::string wrong = judge.judge(device.path(), given, is_bound ? from.truth : nothing);
  if (!wrong.empty() && judge.refusal().empty()) fail(edits.description + "repair: " + wrong);
  try {
    const repair_report ignored{[](const finding&) {}, [](const std::string&) {}};
    const pd::block_device opened(device.path(), pd::access::shared);
    const metadata saved = salvage_metadata(opened, given, ignored, [] {});
    if (saved.nr_blocks < 1'000'000)
      list_blocks(saved, opened, {1, 100}, loss_policy::assume_written, ignore_findings);
  } catch (const pd::error&) {
  }
  use_target(device);
}

}  // namespace
}  // namespace era::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace era::fuzz;
  input in({data, size});
  const base& from = base_of(static_cast<unsigned>(in.number(1)));
  static pd::test::scratch_device device(nr_metadata_blocks);
  copy_device(from.device, device);
  const edit_result edits = apply_edits(in, device, from.kinds, 8);
  const std::string wrong = era::test::findings_in(device.path());
  for (const auto which : {era::source::live, era::source::snapshot}) {
    // A live superblock that is torn is read again after a pause.
    if (which == era::source::snapshot &&
        era::validate_superblock(device[{0}], era::superblock_location))
      continue;
    try {
      era::test::dump_of(device.path(), {.logical = true, .compact = true}, which);
    } catch (const pd::error&) {
    }
  }
  if (wrong.empty())
    judge_clean(device, edits.description);
  else
    judge_damaged(device, from, edits);
  return 0;
}
