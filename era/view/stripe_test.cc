// SPDX-License-Identifier: GPL-3.0-or-later
// The fold: for every size around the borders of words, array blocks and stripes, the newest of the
// era array, the archived writesets and the current one.
#include "era/view/stripe.h"

#include <gtest/gtest.h>

#include "era/testing/metadata_builder.h"

namespace era {
namespace {

using era::test::built_metadata;
using era::test::metadata_description;

// Opens built metadata, which must be without damage.
struct opened {
  explicit opened(const std::string& path, pd::engine_choice engine = pd::engine_choice::automatic)
      : device(path, pd::access::exclusive, engine),
        queue(device.make_engine(), device.nr_blocks()),
        m(open_metadata(queue, device, source::live,
                        [](const finding& f) { ADD_FAILURE() << f.what.detail; })) {}

  std::vector<std::uint32_t> fold_all(fold_what what = fold_what::everything) {
    std::vector<std::uint32_t> all;
    std::vector<finding> findings;
    stripe_folder folder(*m, device, what);
    for (std::uint64_t i = 0; i < nr_stripes(*m); ++i) {
      const auto eras = folder.fold(i, findings);
      all.insert(all.end(), eras.begin(), eras.end());
    }
    EXPECT_TRUE(findings.empty());
    return all;
  }

  pd::block_device device;
  pd::read_queue queue;
  std::optional<metadata> m;
};

metadata_description described(std::uint32_t nr_blocks) {
  metadata_description d;
  d.nr_blocks = nr_blocks;
  d.current_era = 20;
  d.era_of = [](std::uint64_t i) { return static_cast<std::uint32_t>(i % 7); };
  const auto every = [](std::uint64_t n) { return [n](std::uint64_t i) { return i % n == 0; }; };
  d.archived = {{8, nr_blocks, every(5)},
                {9, nr_blocks / 2, every(3)},        // the origin was smaller then
                {10, nr_blocks + 1000, every(11)}};  // and larger then
  d.current = {20, nr_blocks, every(13)};
  return d;
}

std::uint32_t expected_era(std::uint64_t i, std::uint32_t nr_blocks) {
  if (i % 13 == 0) return 20;
  if (i % 11 == 0) return 10;
  if (i % 3 == 0 && i < nr_blocks / 2) return 9;
  if (i % 5 == 0) return 8;
  return static_cast<std::uint32_t>(i % 7);
}

class FoldOfSize : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(FoldOfSize, IsTheNewestOfAllThree) {
  const std::uint32_t nr_blocks = GetParam();
  const built_metadata built(described(nr_blocks));
  for (const auto engine : {pd::engine_choice::sync, pd::engine_choice::aio}) {
    const auto all = opened(built.path(), engine).fold_all();
    ASSERT_EQ(all.size(), nr_blocks);
    for (std::uint64_t i = 0; i < nr_blocks; ++i)
      ASSERT_EQ(all[i], expected_era(i, nr_blocks)) << "block " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(AroundBorders, FoldOfSize,
                         ::testing::Values(0, 1, 63, 64, 65, 1017, 1018, 1019, 32575, 32576, 32577,
                                           65152, 252 * 1018 - 1, 252 * 1018, 252 * 1018 + 1));

TEST(Fold, OfTheEraArrayOnlyLeavesTheWritesetsOut) {
  const built_metadata built(described(5000));
  const auto all = opened(built.path()).fold_all(fold_what::era_array_only);
  ASSERT_EQ(all.size(), 5000u);
  for (std::uint64_t i = 0; i < 5000; ++i) ASSERT_EQ(all[i], i % 7);
}

TEST(Fold, TakesThousandsOfWritesets) {
  metadata_description d;
  d.nr_blocks = 3000;
  d.current_era = 5000;
  for (std::uint32_t era = 1; era <= 3000; ++era)
    d.archived.push_back({era, 3000, [era](std::uint64_t i) { return i + 1 == era; }});
  const built_metadata built(d);
  const auto all = opened(built.path()).fold_all();
  for (std::uint64_t i = 0; i < 3000; ++i) ASSERT_EQ(all[i], i + 1);
}

TEST(Fold, DoesNotLetAnOlderWritesetHideANewerEra) {
  metadata_description d;
  d.nr_blocks = 10;
  d.current_era = 9;
  d.era_of = [](std::uint64_t) { return 7u; };
  d.archived = {{3, 10, [](std::uint64_t) { return true; }}};
  const built_metadata built(d);
  EXPECT_EQ(opened(built.path()).fold_all(), std::vector<std::uint32_t>(10, 7));
}

TEST(Fold, ReportsABlockThatIsDamaged) {
  metadata_description d = described(70000);
  built_metadata built(d);
  opened o(built.path());
  const pd::block_nr lost = *o.m->eras.block(33);  // in stripe 1
  const pd::block_nr bits = *o.m->writesets[0].bits.block(1);
  built.write(lost, pd::block{});
  built.write(bits, pd::block{});
  stripe_folder folder(*o.m, o.device);
  std::vector<finding> findings;
  folder.fold(0, findings);
  EXPECT_TRUE(findings.empty());
  folder.fold(1, findings);
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[0].where, place{part::era_array});
  EXPECT_EQ(findings[0].blocks.begin, lost.value);
  EXPECT_EQ(findings[0].hidden, (pd::range{33 * 1018, 34 * 1018}));
  EXPECT_EQ(findings[1].where, (place{part::writeset, {8}}));
  EXPECT_EQ(findings[1].hidden, (pd::range{32576, 65152}));
}

}  // namespace
}  // namespace era
