// SPDX-License-Identifier: GPL-3.0-or-later
// The list against a filter of the description that the metadata was built from.
#include "era/metadata/list_blocks.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "era/repair/salvage.h"
#include "era/testing/image_builder.h"
#include "era/testing/open_metadata.h"
#include "era/testing/plain_loops.h"
#include "era/text/list_writer.h"
#include "persistent-data/format/btree_node.h"

namespace era {
namespace {

using era::test::built_metadata;
using era::test::metadata_description;
using era::test::open_metadata;

struct listed_text {
  std::string text;
  std::uint64_t listed, in_doubt;
  std::vector<finding> findings;
};

void take(const change_list& listed, listed_text& result) {
  result.listed = listed.listed;
  result.in_doubt = listed.in_doubt;
  const run_formatter print = [](text_buffer& text, std::span<const origin_range> runs) {
    list_writer(list_format::text, 1).lines(text, runs);
  };
  print_runs(listed.blocks, 2, print, [&](std::string_view t) { result.text += t; });
}

listed_text list(const std::string& path, era_window window) {
  const pd::block_device device(path, pd::access::reading);
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  listed_text result;
  const finding_sink sink = [&](finding f) { result.findings.push_back(std::move(f)); };
  const auto m = open_metadata(queue, device, source::live, sink);
  const change_list listed = list_blocks(*m, device, window, loss_policy::refuse, sink);
  take(listed, result);
  return result;
}

listed_text list_salvaged(const std::string& path, era_window window) {
  const pd::block_device device(path, pd::access::reading);
  listed_text result;
  const repair_report report{[&](finding f) { result.findings.push_back(std::move(f)); },
                             [](const std::string&) {}};
  repair_options given;
  given.block_size = 128;
  const metadata saved = salvage_metadata(device, given, report, [] {});
  take(list_blocks(saved, device, window, loss_policy::assume_written, ignore_findings), result);
  return result;
}

metadata_description described(std::uint32_t nr_blocks) {
  metadata_description d;
  d.nr_blocks = nr_blocks;
  d.current_era = 20;
  d.era_of = [](std::uint64_t i) { return static_cast<std::uint32_t>(i / 50 % 7); };
  d.archived = {{10, nr_blocks + 77, [](std::uint64_t i) { return i / 3 % 11 == 0; }}};
  d.current = {20, nr_blocks, [](std::uint64_t i) { return i / 9 % 13 == 0; }};
  return d;
}

std::uint64_t era_of(std::uint64_t i) {
  if (i / 9 % 13 == 0) return 20;
  if (i / 3 % 11 == 0) return 10;
  return i / 50 % 7;
}

std::string expected(std::uint64_t nr_blocks, era_window window) {
  std::ostringstream text;
  const auto is_listed = [&](std::uint64_t i) {
    return i < nr_blocks && window.begin <= era_of(i) && era_of(i) < window.end;
  };
  for (std::uint64_t i = 0; i < nr_blocks; ++i) {
    if (!is_listed(i)) continue;
    const std::uint64_t begin = i;
    while (is_listed(i)) ++i;
    text << begin << ' ' << i << '\n';
  }
  return text.str();
}

TEST(ListBlocks, IsTheFilterOfTheFold) {
  test::with_either_loop([&] {
    for (const std::uint32_t nr_blocks : {0u, 1u, 64u, 1019u, 32575u, 32576u, 32577u, 100000u}) {
      const built_metadata built(described(nr_blocks));
      for (const era_window window : {era_window{0, ~0u},
                                      {1, ~0u},
                                      {6, ~0u},
                                      {10, ~0u},
                                      {20, ~0u},
                                      {21, ~0u},
                                      {10, 20},
                                      {0, 1},
                                      {3, 5},
                                      {5, 5}})
        ASSERT_EQ(list(built.path(), window).text, expected(nr_blocks, window))
            << nr_blocks << " blocks, eras " << window.begin << " to before " << window.end;
    }
  });
}

TEST(ListBlocks, MergesOverStripes) {
  metadata_description d;
  d.nr_blocks = 100000;
  d.era_of = [](std::uint64_t i) { return i > 10 && i < 99990 ? 1u : 0u; };
  d.current_era = 2;
  EXPECT_EQ(list(built_metadata(d).path(), {1, 9}).text, "11 99990\n");
}

TEST(ListBlocks, OfSalvagedMetadataIsTheSameWhereNothingIsLost) {
  for (const std::uint32_t nr_blocks : {0u, 1u, 1019u, 32577u, 100000u}) {
    const built_metadata built(described(nr_blocks));
    for (const era_window window : {era_window{0, ~0u}, {6, ~0u}, {20, ~0u}, {10, 20}, {3, 5}}) {
      const listed_text l = list_salvaged(built.path(), window);
      EXPECT_EQ(l.text, expected(nr_blocks, window));
      EXPECT_EQ(l.in_doubt, 0u);
    }
  }
}

TEST(ListBlocks, AddsWhatDamageHides) {
  metadata_description d;
  d.nr_blocks = 100000;
  d.current_era = 9;
  d.era_of = [](std::uint64_t) { return 4u; };
  d.archived = {{6, 100000, [](std::uint64_t) { return false; }}};
  built_metadata built(d);
  const pd::block_device device(built.path(), pd::access::shared);
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  const auto m = open_metadata(queue, device, source::live, [](const finding&) {});
  built.write(*m->eras.block(50), pd::block{});
  built.write(*m->writesets[0].bits.block(2), pd::block{});
  // In the current era or before: unknown. In era 6 or in era 4: unknown.
  const std::string array = "50900 51918\n", bitset = "65152 97728\n";
  EXPECT_EQ(list_salvaged(built.path(), {6, 99}).text, array + bitset);
  EXPECT_EQ(list_salvaged(built.path(), {7, 99}).text, array);
  EXPECT_EQ(list_salvaged(built.path(), {7, 99}).in_doubt, 1018u);
  EXPECT_EQ(list_salvaged(built.path(), {7, 99}).findings.size(), 2u);
  EXPECT_EQ(list_salvaged(built.path(), {1, 2}).text, array);
  EXPECT_EQ(list_salvaged(built.path(), {4, 5}).text, "0 100000\n");
  EXPECT_EQ(list_salvaged(built.path(), {4, 5}).in_doubt, 1018u + 32576u);
  EXPECT_EQ(list_salvaged(built.path(), {5, 7}).text, array + bitset);
}

// The era array that an outdated superblock leads to may have the eras of other blocks.
TEST(ListBlocks, BelievesNoEraThatAnOutdatedSuperblockLeadsTo) {
  metadata_description d;
  d.nr_blocks = 2036;
  d.current_era = 9;
  d.era_of = [](std::uint64_t i) { return i < 1018 ? 1u : 2u; };
  built_metadata built(d);
  const superblock sb = built.read_superblock();
  const pd::block_nr root{sb.era_array_root}, counts{sb.space_map.ref_count_root};
  pd::block swapped = built.read(root);
  auto* values =
      reinterpret_cast<pd::le64*>(swapped.bytes.data() + sizeof(pd::node_header) +
                                  pd::max_node_entries(sizeof(pd::le64)) * sizeof(pd::le64));
  std::swap(values[0], values[1]);
  pd::prepare_for_write(pd::btree_node_kind, swapped, root);
  built.write(root, swapped);
  EXPECT_EQ(list_salvaged(built.path(), {1, 2}).text, "1018 2036\n");
  // Nothing contradicted that; a block of another kind says that the superblock is outdated.
  pd::block other{};
  pd::prepare_for_write(pd::array_block_kind, other, counts);
  built.write(counts, other);
  EXPECT_EQ(list_salvaged(built.path(), {1, 2}).text, "0 2036\n");
}

// A writeset whose leaf is lost may be of any era.
TEST(ListBlocks, AddsWhatIsOfAnUnknownEraToEveryWindow) {
  metadata_description d;
  d.nr_blocks = 1000;
  d.current_era = 9;
  d.archived = {{6, 1000, [](std::uint64_t i) { return i == 3; }}};
  built_metadata built(d);
  const pd::block_nr root{built.read_superblock().writeset_tree_root};
  const pd::block tree = built.read(root);
  built.write(root, pd::block{});
  for (const era_window window : {era_window{1, 2}, {6, 7}, {8, 99}})
    EXPECT_EQ(list_salvaged(built.path(), window).text, "3 4\n");

  // Without a superblock, no leaf is believed.
  built.write(root, tree);
  built.write(superblock_location, pd::block{});
  EXPECT_EQ(list_salvaged(built.path(), {1, 2}).text, "3 4\n");
}

}  // namespace
}  // namespace era
