// SPDX-License-Identifier: GPL-3.0-or-later
// Blocks of any size and place, compared with a model that looks at each sector.
#include "era/cache/stale_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "era/format/writeset.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

block_set set_of(const std::vector<bool>& bits, std::size_t memory = block_set::default_memory) {
  block_set result(bits.size(), memory);
  for (std::size_t first = 0; first < bits.size(); first += blocks_per_stripe) {
    const std::size_t size = std::min<std::size_t>(blocks_per_stripe, bits.size() - first);
    std::vector<std::uint64_t> words(bitset_words(size));
    for (std::size_t i = 0; i < size; ++i)
      if (bits[first + i]) words[i / bits_per_word] |= std::uint64_t{1} << i % bits_per_word;
    result.add(stripe_set(words, size));
  }
  return result;
}

std::string dump_of(const cache_geometry& cache, const std::vector<cache_mapping>& mappings) {
  std::string text = "<superblock uuid=\"\" block_size=\"" + std::to_string(cache.block_size) +
                     "\" nr_cache_blocks=\"" + std::to_string(cache.nr_blocks) +
                     "\" policy=\"smq\" hint_width=\"4\"><mappings>\n";
  for (const cache_mapping& m : mappings)
    text += "<mapping cache_block=\"" + std::to_string(m.cache_block) + "\" origin_block=\"" +
            std::to_string(m.volume_block) + "\" dirty=\"" + (m.is_dirty ? "true" : "false") +
            "\"/>\n";
  return text + "</mappings></superblock>\n";
}

stale_blocks list(const std::string& dump, const block_set& changed,
                  const era_device_place& place) {
  const auto source = [&, at = std::size_t{0}](char* buffer, std::size_t size) mutable {
    const std::size_t now = std::min(size, dump.size() - at);
    std::memcpy(buffer, dump.data() + at, now);
    at += now;
    return now;
  };
  return list_stale_blocks(source, "dump.xml", changed, place);
}

std::string told(const stale_blocks& stale) {
  std::string text;
  std::uint64_t count = 0;
  const run_formatter collect = [&](text_buffer&, std::span<const origin_range> runs) {
    for (const origin_range& r : runs)
      for (std::uint64_t b = r.begin; b < r.end; ++b, ++count) text += std::to_string(b) + ' ';
  };
  print_runs(stale.blocks, 1, collect, [](std::string_view) {});
  EXPECT_EQ(count, stale.listed);
  return text + "dirty: " + std::to_string(stale.dirty);
}

TEST(EraBlocksOf, AreThoseThatTheSectorsTouch) {
  const era_device_place place{.offset = 100, .block_size = 8, .nr_blocks = 10};  // to 180
  const auto of = [&](std::uint64_t begin, std::uint64_t end) {
    const origin_range r = era_blocks_of(place, begin, end);
    return r.empty() ? "none" : std::to_string(r.begin) + ' ' + std::to_string(r.end);
  };
  EXPECT_EQ(of(0, 100), "none");
  EXPECT_EQ(of(0, 101), "0 1");
  EXPECT_EQ(of(0, 108), "0 1");
  EXPECT_EQ(of(0, 109), "0 2");
  EXPECT_EQ(of(107, 108), "0 1");
  EXPECT_EQ(of(108, 116), "1 2");
  EXPECT_EQ(of(179, 180), "9 10");
  EXPECT_EQ(of(179, 1000), "9 10");
  EXPECT_EQ(of(180, 181), "none");
  EXPECT_EQ(of(0, 1000), "0 10");
  EXPECT_EQ(of(120, 120), "none");
}

TEST(EraBlocksOf, DoNotOverflow) {
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  constexpr std::uint32_t large = std::numeric_limits<std::uint32_t>::max();
  EXPECT_EQ(era_blocks_of({0, 1, large}, 0, most), (origin_range{0, large}));
  EXPECT_EQ(era_blocks_of({0, large, large}, most - 1, most), origin_range{});
  EXPECT_EQ(era_blocks_of({most, 8, 10}, 0, most), origin_range{});
  EXPECT_EQ(era_blocks_of({most - 1, 8, 10}, 0, most), (origin_range{0, 1}));
  EXPECT_EQ(era_blocks_of({0, large, 0}, 0, 100), origin_range{});
}

TEST(StaleBlocks, OverlapAChangedBlock) {
  const cache_geometry cache{.block_size = 128, .nr_blocks = 10};
  const block_set changed = set_of({false, true, false, false});  // sectors 64 to 127
  const std::string dump = dump_of(cache, {{2, 1, false}, {4, 0, false}, {9, 7, false}});
  const auto at = [&](std::uint64_t offset) { return told(list(dump, changed, {offset, 64, 4})); };
  EXPECT_EQ(at(0), "4 dirty: 0");
  EXPECT_EQ(at(63), "2 4 dirty: 0");  // sectors 127 to 190 of the volume
  EXPECT_EQ(at(64), "2 dirty: 0");
  EXPECT_EQ(at(128 * 7 - 127), "9 dirty: 0");
  EXPECT_EQ(at(128 * 7 - 128), "dirty: 0");
}

// The era device does not know a write that is only in the cache.
TEST(StaleBlocks, AreDirtyOnesOfTheDeviceToo) {
  const cache_geometry cache{.block_size = 64, .nr_blocks = 10};
  const block_set changed = set_of({true, false});
  const std::string dump =
      dump_of(cache, {{0, 0, true}, {1, 1, true}, {2, 2, true}, {3, 3, true}, {4, 4, true}});
  EXPECT_EQ(told(list(dump, changed, {0, 64, 2})), "0 1 dirty: 2");
  EXPECT_EQ(told(list(dump, changed, {65, 64, 2})), "1 2 3 dirty: 3");
}

TEST(StaleBlocks, AreNoneOfADumpThatIsWrong) {
  const std::string dump = dump_of({64, 10}, {{0, 0, false}, {1, 0, false}});
  EXPECT_THROW(list(dump, set_of({true}), {0, 64, 1}), pd::invalid_input);
}

TEST(StaleBlocks, MayBeFarApart) {
  const cache_geometry cache{.block_size = 64, .nr_blocks = 4294967295};
  const std::string dump = dump_of(cache, {{0, 0, false},
                                           {32575, 2, false},
                                           {32576, 3, false},
                                           {32577, 1, false},
                                           {4294967294, 4, false}});
  EXPECT_EQ(told(list(dump, set_of({true, false, true, true, true}), {0, 64, 5})),
            "0 32575 32576 4294967294 dirty: 0");
}

// The model knows of each sector of the volume whether it is the era device's, and has changed.
TEST(StaleBlocks, AreThoseOfAModel) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 400; ++round) {
    const std::uint32_t era_size = 1 + static_cast<std::uint32_t>(random() % 300);
    const std::uint32_t nr_era = 1 + static_cast<std::uint32_t>(random() % (60000 / era_size));
    const cache_geometry cache{.block_size = 64 * (1 + static_cast<std::uint32_t>(random() % 9)),
                               .nr_blocks = 1 + static_cast<std::uint32_t>(random() % 70000)};
    const std::uint64_t offset = random() % 3 == 0 ? 0 : random() % 3000;
    const std::uint64_t rarely = 1 + random() % 200;
    std::vector<bool> changed(nr_era), of_device(offset + nr_era * era_size),
        stale(offset + nr_era * era_size);
    for (std::uint64_t b = 0; b < nr_era; ++b) {
      changed[b] = random() % rarely == 0;
      for (std::uint64_t s = 0; s < era_size; ++s) {
        of_device[offset + b * era_size + s] = true;
        stale[offset + b * era_size + s] = changed[b];
      }
    }
    std::vector<std::uint64_t> volume_blocks(of_device.size() / cache.block_size + 3);
    for (std::size_t i = 0; i < volume_blocks.size(); ++i) volume_blocks[i] = i;
    std::shuffle(volume_blocks.begin(), volume_blocks.end(), random);
    std::vector<cache_mapping> mappings;
    std::string expected;
    std::uint64_t dirty = 0;
    for (std::uint32_t b = 0; b < cache.nr_blocks && !volume_blocks.empty(); ++b) {
      if (random() % 4 == 0) continue;
      const cache_mapping m{b, volume_blocks.back(), random() % 10 == 0};
      volume_blocks.pop_back();
      mappings.push_back(m);
      bool is_device = false, is_stale = false;
      for (std::uint64_t s = m.volume_block * cache.block_size;
           s < (m.volume_block + 1) * cache.block_size && s < of_device.size(); ++s) {
        is_device = is_device || of_device[s];
        is_stale = is_stale || stale[s];
      }
      if (!is_stale && !(is_device && m.is_dirty)) continue;
      expected += std::to_string(b) + ' ';
      dirty += m.is_dirty;
    }
    const std::size_t memory = random() % 2 == 0 ? 0 : block_set::default_memory;
    ASSERT_EQ(
        told(list(dump_of(cache, mappings), set_of(changed, memory), {offset, era_size, nr_era})),
        expected + "dirty: " + std::to_string(dirty))
        << "round " << round << ", era blocks of " << era_size << ", cache blocks of "
        << cache.block_size << ", offset " << offset;
  }
}

}  // namespace
}  // namespace era
