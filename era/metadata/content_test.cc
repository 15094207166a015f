// SPDX-License-Identifier: GPL-3.0-or-later
// Blocks of arrays by their positions: each position is answered once, and damage is told in order.
#include "era/metadata/content.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "era/testing/image_builder.h"
#include "era/testing/open_metadata.h"
#include "era/testing/plain_loops.h"

namespace era {
namespace {

using era::test::built_metadata;
using era::test::metadata_description;
using era::test::open_metadata;
using ::testing::ElementsAre;

metadata_description described() {
  metadata_description d;
  d.nr_blocks = 40'000;
  d.current_era = 9;
  d.era_of = [](std::uint64_t i) { return static_cast<std::uint32_t>(i % 5); };
  d.archived = {{6, 39'000, [](std::uint64_t i) { return i == 3; }}};
  return d;
}

class Content : public ::testing::Test {
 protected:
  array_position of_array(std::uint64_t index) const {
    return {&m_->eras, m_->place_of(part::era_array), index};
  }
  array_position of_writeset(std::uint64_t index) const {
    const writeset& ws = m_->writesets[0];
    return {&ws.bits, m_->place_of(ws), index, ws.nr_bits};
  }

  // The positions that were answered with a block, and those that were answered without one.
  struct answers {
    std::vector<std::size_t> sound, lost;
    std::vector<finding> findings;
  };
  answers read(const std::vector<array_position>& positions) const {
    answers result;
    content_reader reader(device_);
    const auto look = [&](std::size_t k, const pd::block* b) -> std::optional<finding> {
      (b ? result.sound : result.lost).push_back(k);
      return {};
    };
    reader.read(positions, look, result.findings);
    std::sort(result.sound.begin(), result.sound.end());
    std::sort(result.lost.begin(), result.lost.end());
    return result;
  }

  built_metadata built_{described()};
  pd::block_device device_{built_.path(), pd::access::shared};
  pd::read_queue queue_{device_.make_engine(), device_.nr_blocks()};
  std::optional<metadata> m_ = open_metadata(queue_, device_, source::live, ignore_findings);
};

TEST_F(Content, AnswersEachPositionOnce) {
  const answers a = read({of_array(3), of_writeset(1), of_array(0)});
  EXPECT_THAT(a.sound, ElementsAre(0, 1, 2));
  EXPECT_TRUE(a.lost.empty() && a.findings.empty());
}

TEST_F(Content, TellsDamageInTheOrderOfPositions) {
  for (const pd::block_nr b : {*m_->eras.block(0), *m_->writesets[0].bits.block(1)})
    built_.write(b, pd::block{});
  const answers a = read({of_writeset(1), of_array(1), of_array(0)});
  EXPECT_THAT(a.sound, ElementsAre(1));
  EXPECT_THAT(a.lost, ElementsAre(0, 2));
  ASSERT_EQ(a.findings.size(), 2u);
  EXPECT_EQ(a.findings[0].where, (place{part::writeset, {6}}));
  EXPECT_EQ(a.findings[0].hidden, (pd::range{32'576, 39'000}));
  EXPECT_EQ(a.findings[1].where, place{part::era_array});
  EXPECT_EQ(a.findings[1].hidden, (pd::range{0, 1018}));

  const answers reversed = read({of_array(0), of_array(1), of_writeset(1)});
  ASSERT_EQ(reversed.findings.size(), 2u);
  EXPECT_EQ(reversed.findings[0].where, place{part::era_array});
  EXPECT_EQ(reversed.findings[1].where, (place{part::writeset, {6}}));
}

// The damage was reported with the map.
TEST_F(Content, TellsNoDamageOfWhatTheMapHasLost) {
  const pd::array_map lost({40'000, sizeof(pd::le32)});
  const answers a = read({{&lost, m_->place_of(part::era_array), 2}});
  EXPECT_THAT(a.lost, ElementsAre(0));
  EXPECT_TRUE(a.findings.empty());
}

TEST_F(Content, TellsWhichStraysAreNoLongerOfTheirKind) {
  const auto eras = static_cast<std::uint32_t>(m_->eras.block(5)->value);
  const auto bits = static_cast<std::uint32_t>(m_->writesets[0].bits.block(0)->value);
  const std::vector<stray_blocks::entry> strays{{5, eras}, {0, bits}, {1, 0}};
  std::map<std::uint32_t, bool> usable;
  content_reader reader(device_);
  reader.read_strays(strays, sizeof(pd::le32), [&](const auto& stray, const pd::block* b) {
    usable[stray.index] = b != nullptr;
  });
  EXPECT_EQ(usable, (std::map<std::uint32_t, bool>{{5, true}, {0, false}, {1, false}}));
}

TEST(NewestEra, IsFoundAtEveryPlace) {
  test::with_either_loop([&] {
    EXPECT_EQ(newest_era({}), era_nr{0});
    for (std::size_t size = 1; size < 100; ++size)
      for (std::size_t at = 0; at < size; ++at) {
        std::vector<pd::le32> eras(size, pd::le32(2));
        eras[at] = 0xfffffffe;
        ASSERT_EQ(newest_era(eras), era_nr{0xfffffffe}) << size << ' ' << at;
      }
  });
}

}  // namespace
}  // namespace era
