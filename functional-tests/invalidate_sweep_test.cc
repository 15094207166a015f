// SPDX-License-Identifier: GPL-3.0-or-later
// Law 1 over the corruption sweep: every damaged kernel image is asked for changed blocks at every
// era. Without damage that is noticed the list is the one of the sound image; with it, what damage
// hides is listed, too: not one block that was written may be missing.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "era/invalidate/invalidate.h"
#include "era/testing/block_roles.h"
#include "era/testing/kernel_image.h"
#include "era/testing/mutations.h"

namespace era::test {
namespace {

struct answer {
  bool usable = false;  // there is a superblock that can be trusted
  bool damaged = false;
  std::vector<bool> listed;
};

// As era_invalidate --repair does it.
answer ask(const std::string& path, std::uint32_t since) {
  const pd::block_device device(path, pd::access::shared);
  answer a;
  changed_blocks changed(device, source::live, {since, std::uint64_t{1} << 32},
                         [&](const finding&) { a.damaged = true; });
  std::optional<listed_blocks> listed;
  while (changed.opened() && !listed) listed = changed.list();
  if (!listed) return a;
  a.usable = true;
  a.listed.resize(changed.opened()->sb.nr_blocks);
  const stretch_printer mark = [&](text_buffer&, std::span<const pd::range> stretches) {
    for (const pd::range& r : stretches)
      std::fill(a.listed.begin() + static_cast<std::ptrdiff_t>(r.begin),
                a.listed.begin() + static_cast<std::ptrdiff_t>(r.end), true);
  };
  print_stretches(listed->blocks, 1, mark, [](std::string_view) {});
  return a;
}

class InvalidateSweep : public ::testing::TestWithParam<const char*> {};

TEST_P(InvalidateSweep, MissesNoBlock) {
  memory_image image(GetParam());
  const std::vector<pd::block> sound(image.blocks().begin(), image.blocks().end());
  const used_blocks roles = find_roles(sound);
  const sweep_subject subject = make_subject(sound, roles);
  const std::uint32_t current = sound[0].as<superblock>().current_era;
  std::vector<answer> truth;
  for (std::uint32_t era = 0; era <= current + 1; ++era) truth.push_back(ask(image.path(), era));

  std::size_t cases = 0, failures = 0;
  const auto run = [&](std::uint64_t nr, const mutation& m) {
    // What became unreachable without any other trace cannot be noticed here; nor does a superblock
    // that was changed and sealed again with plausible values tell.
    if (m.expected == expectation::leak || !m.dump_refuses) return;
    image.blocks()[nr] = m.content;
    ++cases;
    // Not each era for each case, and on the larger images only one of them.
    std::vector<std::uint32_t> eras{static_cast<std::uint32_t>(cases % (current + 2))};
    if (truth[0].listed.size() < 10000) eras.insert(eras.end(), {1u, current});
    for (const std::uint32_t era : eras) {
      const answer a = ask(image.path(), era);
      const answer& right = truth[era];
      if (!a.usable) break;
      std::size_t missing = a.listed.size() < right.listed.size() ? 1 : 0;
      for (std::size_t i = 0; i < std::min(a.listed.size(), right.listed.size()); ++i)
        missing += right.listed[i] && !a.listed[i] ? 1 : 0;
      if (missing > 0 && ++failures < 20)
        ADD_FAILURE() << GetParam() << ": block " << nr << ": " << m.kind << ": " << m.detail
                      << ": since era " << era << ": " << missing << " blocks are missing"
                      << (a.damaged ? "" : ", and no damage was noticed");
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

INSTANTIATE_TEST_SUITE_P(KernelImages, InvalidateSweep, ::testing::ValuesIn(kernel_images),
                         [](const auto& image) {
                           std::string name(image.param);
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace era::test
