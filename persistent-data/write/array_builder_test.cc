// SPDX-License-Identifier: GPL-3.0-or-later
// Arrays of every size at which a block begins.
#include "persistent-data/write/array_builder.h"

#include <gtest/gtest.h>

#include "persistent-data/testing/building_site.h"

namespace persistent_data {
namespace {

using test::building_site;

TEST(ArrayBuilder, HoldsEveryValueInEverySize) {
  constexpr std::uint64_t sizes[] = {0,    1,    1017,           1018,       1019,
                                     2036, 2037, 252 * 1018 - 1, 252 * 1018, 252 * 1018 + 1};
  for (const std::uint64_t n : sizes) {
    SCOPED_TRACE(n);
    building_site s(400);
    array_builder<le32> builder(s.writer);
    for (std::uint64_t i = 0; i < n; ++i) {
      ASSERT_EQ(builder.size(), i);
      builder.append(static_cast<std::uint32_t>(i * 7));
    }
    const block_nr root = builder.finish();
    EXPECT_EQ(s.writer.nr_used() - 1, array_space_for(n, sizeof(le32)));
    const auto values = s.array<le32>(root, n);
    ASSERT_EQ(values.size(), n);
    for (std::uint64_t i = 0; i < n; ++i) ASSERT_EQ(values[i], i * 7);
  }
}

TEST(ArrayBuilder, TakesRuns) {
  building_site s(100);
  array_builder<le32> builder(s.writer);
  std::vector<std::uint64_t> wanted;
  for (const unsigned run : {3u, 1015u, 1u, 1018u, 5000u, 0u, 2u}) {
    builder.append(run, run + 1);
    wanted.insert(wanted.end(), run, run + 1);
  }
  EXPECT_EQ(builder.size(), wanted.size());
  EXPECT_EQ(s.array<le32>(builder.finish(), wanted.size()), wanted);
}

// The content of an earlier block must not show after the last value.
TEST(ArrayBuilder, LeavesZerosBehindItsEnd) {
  building_site s(100);
  array_builder<le32> builder(s.writer);
  builder.append(1018 + 3, 0xffffffff);
  builder.finish();
  s.queue->drain_and_flush();
  const auto& last = s.disk[{2}];
  EXPECT_EQ(last.as<array_header>().nr_entries, 3u);
  for (std::size_t at = sizeof(array_header) + 12; at < block_size; ++at)
    ASSERT_EQ(last.bytes[at], std::byte{0}) << at;
}

}  // namespace
}  // namespace persistent_data
