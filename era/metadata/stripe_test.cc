// SPDX-License-Identifier: GPL-3.0-or-later
// The fold: for every size around the borders of words, array blocks and stripes, the newest of the
// era array, the archived writesets and the current one.
#include "era/metadata/stripe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "era/testing/image_builder.h"
#include "era/testing/open_metadata.h"
#include "era/testing/plain_loops.h"

namespace era {
namespace {

using era::test::built_metadata;
using era::test::metadata_description;
using era::test::open_metadata;

// Opens built metadata, which must be without damage.
struct opened {
  explicit opened(const std::string& path, pd::engine_choice engine = pd::engine_choice::automatic)
      : device(path, pd::access::reading, engine),
        queue(device.make_engine(), device.nr_blocks()),
        m(open_metadata(queue, device, source::live,
                        [](const finding& f) { ADD_FAILURE() << f.error.text; })) {}

  std::vector<std::uint32_t> fold_all(fold_scope what = fold_scope::everything) {
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
  test::with_either_loop([&] {
    const std::uint32_t nr_blocks = GetParam();
    const built_metadata built(described(nr_blocks));
    for (const auto engine :
         {pd::engine_choice::sync, pd::engine_choice::aio, pd::engine_choice::uring}) {
      const auto all = opened(built.path(), engine).fold_all();
      ASSERT_EQ(all.size(), nr_blocks);
      for (std::uint64_t i = 0; i < nr_blocks; ++i)
        ASSERT_EQ(all[i], expected_era(i, nr_blocks)) << "block " << i;
    }
  });
}

// Whether each block is listed by a filter; every bit past the end of a stripe must be clear.
std::vector<bool> filter_all(const opened& o, era_range eras) {
  std::vector<bool> all;
  std::vector<finding> findings;
  stripe_filter filter(*o.m, o.device, eras);
  for (std::uint64_t i = 0; i < nr_stripes(*o.m); ++i) {
    const std::uint64_t size = stripe_blocks(*o.m, i).size();
    const auto words = filter.filter(i, findings);
    EXPECT_EQ(words.size(), bitset_words(size));
    for (std::uint64_t bit = 0; bit < words.size() * bits_per_word; ++bit) {
      const bool is_set = words[bit / bits_per_word] >> bit % bits_per_word & 1;
      if (bit < size) all.push_back(is_set);
      EXPECT_FALSE(bit >= size && is_set) << "block " << bit << " of stripe " << i;
    }
  }
  EXPECT_TRUE(findings.empty());
  return all;
}

TEST_P(FoldOfSize, IsWhatTheFilterAsks) {
  test::with_either_loop([&] {
    const std::uint32_t nr_blocks = GetParam();
    const built_metadata built(described(nr_blocks));
    const opened o(built.path());
    const std::uint64_t no_end = std::uint64_t{1} << 32;
    for (const era_range eras : {era_range{0, no_end},
                                 {1, no_end},
                                 {9, no_end},
                                 {21, no_end},
                                 {no_end - 1, no_end},
                                 {0, 1},
                                 {6, 10},
                                 {10, 20},
                                 {10, 10},
                                 {10, 9}}) {
      const auto all = filter_all(o, eras);
      ASSERT_EQ(all.size(), nr_blocks);
      for (std::uint64_t i = 0; i < nr_blocks; ++i) {
        const std::uint32_t era = expected_era(i, nr_blocks);
        ASSERT_EQ(all[i], eras.begin <= era && era < eras.end)
            << "block " << i << ", eras " << eras.begin << " to before " << eras.end;
      }
    }
  });
}

INSTANTIATE_TEST_SUITE_P(AroundBorders, FoldOfSize,
                         ::testing::Values(0, 1, 63, 64, 65, 1017, 1018, 1019, 32575, 32576, 32577,
                                           65152, 252 * 1018 - 1, 252 * 1018, 252 * 1018 + 1));

TEST(Fold, OfTheEraArrayOnlyLeavesTheWritesetsOut) {
  const built_metadata built(described(5000));
  const auto all = opened(built.path()).fold_all(fold_scope::era_array_only);
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

TEST(Filter, DoesNotLetAnOlderWritesetHideANewerEra) {
  metadata_description d;
  d.nr_blocks = 10;
  d.current_era = 9;
  d.era_of = [](std::uint64_t) { return 7u; };
  d.archived = {{3, 10, [](std::uint64_t) { return true; }}};
  const built_metadata built(d);
  EXPECT_EQ(filter_all(opened(built.path()), {3, 7}), std::vector<bool>(10, false));
  EXPECT_EQ(filter_all(opened(built.path()), {3, 8}), std::vector<bool>(10, true));
}

// The largest era is below no end and at least every begin: nothing may wrap around.
TEST(Filter, TakesEverySizeOfEra) {
  metadata_description d;
  d.nr_blocks = 200;
  d.current_era = max_current_era;
  d.era_of = [](std::uint64_t i) { return i % 2 ? max_current_era : 2147483647u; };
  const built_metadata built(d);
  const opened o(built.path());
  constexpr std::uint64_t last = max_current_era;
  for (const era_range eras : {era_range{last, last + 1},
                               {2147483648, 4294967296},
                               {2147483647, last},
                               {2147483647, 2147483648}}) {
    const auto all = filter_all(o, eras);
    for (std::uint64_t i = 0; i < 200; ++i)
      ASSERT_EQ(all[i], (i % 2 == 1) == (eras.end > last)) << i << ' ' << eras.begin;
  }
}

TEST(Fold, ReportsAFutureEraWhereverItIs) {
  for (const std::uint64_t at : {0u, 7u, 8u, 1015u, 1016u, 1017u, 1018u, 2996u, 2999u}) {
    metadata_description d;
    d.nr_blocks = 3000;
    d.current_era = 9;
    d.era_of = [&](std::uint64_t i) { return i == at ? 10u : 9u; };
    const built_metadata built(d);
    const opened o(built.path());
    std::vector<finding> findings;
    stripe_folder(*o.m, o.device).fold(0, findings);
    ASSERT_EQ(findings.size(), 1u) << "block " << at;
    EXPECT_EQ(findings[0].hidden, (pd::range{at, at + 1}));
  }
}

TEST(Filter, ReportsWhatTheFoldReports) {
  const metadata_description d = described(70000);
  built_metadata built(d);
  opened o(built.path());
  built.write(*o.m->eras.block(33), pd::block{});
  built.write(*o.m->writesets[0].bits.block(1), pd::block{});
  std::vector<finding> of_fold, of_filter;
  stripe_folder(*o.m, o.device).fold(1, of_fold);
  stripe_filter(*o.m, o.device, {20, 21}).filter(1, of_filter);
  ASSERT_EQ(of_filter.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(of_filter[i].where, of_fold[i].where);
    EXPECT_EQ(of_filter[i].hidden, of_fold[i].hidden);
  }
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

TEST(Fold, AssumesWhatALossMayHide) {
  test::with_either_loop([&] {
    metadata_description d = described(60001);
    built_metadata built(d);
    opened o(built.path());
    built.write(*o.m->eras.block(33), pd::block{});              // in stripe 1
    built.write(*o.m->writesets[0].bits.block(1), pd::block{});  // of era 8
    stripe_folder folder(*o.m, o.device, fold_scope::everything, loss_policy::assume_written);
    std::vector<finding> findings;
    folder.fold(0, findings);
    EXPECT_EQ(folder.nr_assumed(), 0u);
    const auto assumed = folder.fold(1, findings), known = folder.known();
    EXPECT_TRUE(findings.empty());
    std::uint64_t differ = 0;
    for (std::uint64_t i = 0; i < assumed.size(); ++i) {
      const std::uint64_t block = blocks_per_stripe + i;
      const bool of_lost_array = block / 1018 == 33;
      const std::uint32_t truth = expected_era(block, 60001);
      ASSERT_LE(known[i], truth) << block;
      ASSERT_EQ(assumed[i], of_lost_array ? 20 : std::max(truth, 8u)) << block;
      differ += known[i] != assumed[i];
    }
    EXPECT_EQ(folder.nr_assumed(), differ);
  });
}

// Stray blocks were sound when they were found. If one is not when its content is read, all that it
// may have said is assumed.
TEST(Fold, AssumesWhatAStrayBlockMayHaveSaid) {
  metadata_description d;
  d.nr_blocks = 40'000;
  d.current_era = 9;
  d.era_of = [](std::uint64_t) { return 7u; };
  d.archived = {{8, 40'000, [](std::uint64_t i) { return i == 5; }}};
  built_metadata built(d);
  opened o(built.path());
  metadata m = std::move(*o.m);
  m.newest_possible = m.current_era;
  const auto eras_of_1 = static_cast<std::uint32_t>(m.eras.block(1)->value);
  const auto bits = static_cast<std::uint32_t>(m.writesets[0].bits.block(0)->value);
  m.lost.eras.add(0, pd::block_nr{eras_of_1});
  m.lost.bits.add(1, pd::block_nr{bits});
  m.lost.eras.resolve();
  m.lost.bits.resolve();
  std::vector<finding> findings;
  stripe_folder folder(m, o.device, fold_scope::everything, loss_policy::assume_written);
  const auto fold = [&](std::uint64_t stripe) {
    const auto eras = folder.fold(stripe, findings);
    return std::vector(eras.begin(), eras.end());
  };
  EXPECT_EQ(fold(0)[0], 7u);
  auto of_stripe_1 = fold(1);
  EXPECT_EQ(std::count(of_stripe_1.begin(), of_stripe_1.end(), 9u), 1);

  built.write({eras_of_1}, pd::block{});
  built.write({bits}, pd::block{});
  const auto of_stripe_0 = fold(0);
  EXPECT_EQ(std::count(of_stripe_0.begin(), of_stripe_0.begin() + 1018, 9u), 1018);
  of_stripe_1 = fold(1);
  EXPECT_THAT(of_stripe_1, ::testing::Each(9u));
}

TEST(Fold, OmitsALossInSilence) {
  metadata_description d;
  d.nr_blocks = 2000;
  d.current_era = 9;
  d.era_of = [](std::uint64_t) { return 7u; };
  built_metadata built(d);
  opened o(built.path());
  built.write(*o.m->eras.block(1), pd::block{});
  std::vector<finding> findings;
  stripe_folder folder(*o.m, o.device, fold_scope::everything, loss_policy::omit);
  const auto eras = folder.fold(0, findings);
  EXPECT_TRUE(findings.empty());
  EXPECT_EQ(eras[1017], 7u);
  EXPECT_EQ(eras[1018], 0u);
}

// The filter says of each block what a look at its known and its assumed era says.
TEST(Filter, ListsWhatMayBeInTheWindow) {
  built_metadata built(described(70000));
  opened o(built.path());
  built.write(*o.m->eras.block(40), pd::block{});
  built.write(*o.m->writesets[2].bits.block(1), pd::block{});
  for (const era_range eras : {era_range{0, 1}, {3, 9}, {9, 11}, {10, 21}, {20, 99}, {21, 99}}) {
    stripe_folder folder(*o.m, o.device, fold_scope::everything, loss_policy::assume_written);
    stripe_filter filter(*o.m, o.device, eras, loss_policy::assume_written);
    std::vector<finding> findings;
    const auto assumed = folder.fold(1, findings), known = folder.known();
    const auto words = filter.filter(1, findings);
    std::uint64_t in_doubt = 0;
    for (std::uint64_t i = 0; i < assumed.size(); ++i) {
      const bool listed = assumed[i] >= eras.begin && known[i] < eras.end;
      ASSERT_EQ(words[i / 64] >> i % 64 & 1, listed) << i << ' ' << eras.begin;
      in_doubt += listed && (known[i] < eras.begin || assumed[i] >= eras.end);
    }
    EXPECT_EQ(filter.nr_in_doubt(), in_doubt) << eras.begin;
  }
}

}  // namespace
}  // namespace era
