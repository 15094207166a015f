// SPDX-License-Identifier: GPL-3.0-or-later
// Law 1 over the corruption sweep: every damaged kernel image is asked for changed blocks at every
// era and in windows of eras. Blocks that damage hides are listed, too: not one block that was
// written then may be missing.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "era/metadata/list_blocks.h"
#include "era/metadata/stripe.h"
#include "era/repair/salvage.h"
#include "era/testing/block_roles.h"
#include "era/testing/kernel_image.h"
#include "era/testing/mutations.h"
#include "era/testing/open_metadata.h"
#include "functional-tests/random_damage.h"
#include "persistent-data/format/errors.h"

namespace era::test {
namespace {

using blocks = std::vector<bool>;

std::vector<std::uint32_t> eras_of(const std::string& path) {
  const pd::block_device device(path, pd::access::shared);
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  const auto m = open_metadata(queue, device, source::live, [](const finding&) {});
  std::vector<finding> findings;
  std::vector<std::uint32_t> result;
  stripe_folder folder(*m, device);
  for (std::uint64_t s = 0; s < nr_stripes(*m); ++s) {
    const auto eras = folder.fold(s, findings);
    result.insert(result.end(), eras.begin(), eras.end());
  }
  EXPECT_TRUE(findings.empty());
  return result;
}

// count_assumed() reads fewer stripes.
std::uint64_t assumed_in_all_stripes(const metadata& m, const pd::block_device& device) {
  stripe_folder folder(m, device, fold_scope::everything, loss_policy::assume_written);
  std::vector<finding> findings;
  std::uint64_t assumed = 0;
  for (std::uint64_t stripe = 0; stripe < nr_stripes(m); ++stripe) {
    const auto all = folder.fold(stripe, findings), known = folder.known();
    for (std::size_t i = 0; i < all.size(); ++i) assumed += known[i] != all[i];
  }
  EXPECT_TRUE(findings.empty());
  return assumed;
}

class InvalidateSweep : public ::testing::TestWithParam<const char*> {
 protected:
  // A user who is asked for the number of blocks knows it.
  metadata salvage(const pd::block_device& device) const {
    const repair_report ignored{[](const finding&) {}, [](const std::string&) {}};
    repair_options given = given_;
    try {
      return salvage_metadata(device, given, ignored, [] {});
    } catch (const pd::damaged_metadata& e) {
      if (given.nr_blocks || std::string(e.what()).find("--nr-blocks") == std::string::npos) throw;
      given.nr_blocks = nr_blocks_;
      return salvage_metadata(device, given, ignored, [] {});
    }
  }

  // As era_invalidate --repair does it.
  blocks ask(const std::string& path, const era_window& window) {
    const pd::block_device device(path, pd::access::shared);
    const metadata saved = salvage(device);
    const change_list listed =
        list_blocks(saved, device, window, loss_policy::assume_written, ignore_findings);
    EXPECT_EQ(count_assumed(saved, device), assumed_in_all_stripes(saved, device));
    current_era_ = saved.current_era.value;
    era_is_guess_ = saved.lost.era_is_guess;
    blocks result(saved.nr_blocks);
    const run_formatter mark = [&](text_buffer&, std::span<const origin_range> runs) {
      for (const origin_range& r : runs)
        std::fill(result.begin() + static_cast<std::ptrdiff_t>(r.begin),
                  result.begin() + static_cast<std::ptrdiff_t>(r.end), true);
    };
    print_runs(listed.blocks, 1, mark, [](std::string_view) {});
    return result;
  }

  repair_options given_;
  std::uint32_t current_era_ = 0;  // of the metadata that was salvaged last
  bool era_is_guess_ = false;      // of the same
  std::uint32_t nr_blocks_ = 0;    // of the origin
};

TEST_P(InvalidateSweep, MissesNoBlock) {
  memory_image image(GetParam());
  const std::vector<pd::block> sound(image.blocks().begin(), image.blocks().end());
  const used_blocks roles = find_roles(sound);
  const sweep_subject subject = make_subject(sound, roles);
  const std::uint32_t current = sound[0].as<superblock>().current_era;
  given_.block_size = sound[0].as<superblock>().data_block_size;
  const std::vector<std::uint32_t> truth = eras_of(image.path());
  nr_blocks_ = static_cast<std::uint32_t>(truth.size());

  std::size_t cases = 0, failures = 0, turn = 0;
  const auto run = [&](std::uint64_t nr, const mutation& m) {
    // On images with hundreds of thousands of blocks, each metadata block gets a quarter of its
    // cases, in turns.
    if (truth.size() > 100'000 && turn++ % 4 != nr % 4) return;
    image.blocks()[nr] = m.content;
    ++cases;
    // Not each era for each case, and on the larger images only one of them, with or without an
    // end.
    const std::uint64_t era = cases % (current + 2), no_end = std::uint64_t{1} << 32;
    std::vector<era_window> windows{{era, cases % 2 == 0 ? no_end : era + 1}};
    if (truth.size() < 10000)
      windows.insert(windows.end(), {{1, no_end}, {current, no_end}, {1, current}});
    for (const era_window& window : windows) {
      const auto listed = ask(image.path(), window);
      std::size_t missing = 0;
      for (std::size_t i = 0; i < truth.size(); ++i)
        missing +=
            window.begin <= truth[i] && truth[i] < window.end && (i >= listed.size() || !listed[i]);
      if (missing > 0 && ++failures < 20)
        ADD_FAILURE() << GetParam() << ": block " << nr << ": " << m.kind << ": " << m.detail
                      << ": eras " << window.begin << " to before " << window.end << ": " << missing
                      << " blocks are missing";
    }
    image.blocks()[nr] = sound[nr];
  };
  for (const auto& [nr, use] : roles) {
    std::mt19937 random(static_cast<unsigned>(nr));
    mutate(subject, nr, random, [&, block = nr](const mutation& m) { run(block, m); });
  }
  EXPECT_EQ(failures, 0u);
  EXPECT_GT(cases, 50u);
  RecordProperty("cases", static_cast<int>(cases));
}

// Several blocks at once. No list is an answer, since the user can be asked; a short one is not.
TEST_P(InvalidateSweep, MissesNoBlockIfSeveralAreDamaged) {
  memory_image image(GetParam());
  const std::vector<std::uint32_t> truth = eras_of(image.path());
  nr_blocks_ = static_cast<std::uint32_t>(truth.size());
  sweep::random_damage damage(image);
  const std::uint32_t current = image.blocks()[0].as<superblock>().current_era;
  const std::vector<unsigned> seeds = sweep::damage_seeds(500);
  constexpr std::uint64_t no_end = std::uint64_t{1} << 32;
  std::size_t failures = 0, refused = 0, beyond_proof = 0;
  for (const unsigned seed : seeds) {
    damage.damage(seed);
    if (damage.is_beyond_proof()) {
      damage.mend();
      ++beyond_proof;
      continue;
    }
    given_ = damage.given();
    const std::uint64_t era = seed / 4 % (current + 1);
    const era_window window{era, seed % 3 == 0 ? era + 1 : no_end};
    std::size_t missing = 0;
    try {
      const blocks listed = ask(image.path(), window);
      // era_invalidate refuses eras that cannot have begun, and those of which it cannot know.
      const bool is_refused = era > current_era_ + (era_is_guess_ ? 0u : 1u);
      if (!is_refused)
        for (std::size_t i = 0; i < truth.size(); ++i)
          missing += window.begin <= truth[i] && truth[i] < window.end &&
                     (i >= listed.size() || !listed[i]);
    } catch (const pd::damaged_metadata&) {
      ++refused;
    }
    damage.mend();
    if (missing > 0 && ++failures < 20)
      ADD_FAILURE() << GetParam() << ", seed " << seed << damage.description() << ": eras "
                    << window.begin << " to before " << window.end << ": " << missing
                    << " blocks are missing";
  }
  EXPECT_EQ(failures, 0u) << "of " << seeds.size() << " seeds up to " << seeds.back();
  EXPECT_LE(refused, seeds.size() / 8);
  std::printf("%s: %zu cases, %zu misses, %zu refused, %zu not tried\n", GetParam(), seeds.size(),
              failures, refused, beyond_proof);
}

INSTANTIATE_TEST_SUITE_P(KernelImages, InvalidateSweep, ::testing::ValuesIn(kernel_images),
                         [](const auto& image) {
                           std::string name(image.param);
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace era::test
