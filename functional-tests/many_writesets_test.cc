// SPDX-License-Identifier: GPL-3.0-or-later
// Metadata of the largest size may have four million writesets, and hostile metadata may claim as
// many. The test measures the memory that each takes, on small metadata: four million must fit into
// the 320 MiB that every command keeps within. And the time does not grow with the claims of
// hostile metadata.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "era/check/change_lister.h"
#include "era/check/check.h"
#include "era/metadata/metadata_builder.h"
#include "era/testing/image_builder.h"
#include "era/testing/open_metadata.h"
#include "era/testing/round_trip.h"
#include "functional-tests/sweep_run.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/testing/scratch_device.h"

namespace era::test {
namespace {

// 290 of the 320 MiB; the rest is for the program, its buffers, and all that does not grow with
// writesets.
constexpr double most_per_writeset =
    290.0 * (1 << 20) / static_cast<double>(pd::max_metadata_blocks);

metadata_description with_writesets(std::uint32_t n, std::uint32_t nr_bits) {
  metadata_description d;
  d.nr_blocks = 1000;
  d.current_era = n + 10;
  for (std::uint32_t era = 1; era <= n; ++era)
    d.archived.push_back({era, nr_bits, [](std::uint64_t i) { return i == 5; }});
  return d;
}

// The leaves name the same bitset for all writesets, and the space map, which counts the others, is
// lost.
void share_bitset(built_metadata& m) {
  std::uint64_t shared = 0;
  const auto change_leaf = [&](std::uint64_t where) {
    pd::block b = m.read({where});
    auto* values = reinterpret_cast<writeset_value*>(b.bytes.data() + sizeof(pd::node_header) +
                                                     pd::max_node_entries(12) * sizeof(pd::le64));
    for (std::uint32_t i = 0; i < pd::node_view(b).size(); ++i) {
      if (shared == 0) shared = values[i].root;
      values[i].root = shared;
    }
    pd::prepare_for_write(pd::btree_node_kind, b, {where});
    m.write({where}, b);
  };
  const std::function<void(std::uint64_t)> change_below = [&](std::uint64_t where) {
    const pd::block b = m.read({where});
    const pd::node_view node(b);
    if (node.is_leaf()) return change_leaf(where);
    for (std::uint32_t i = 0; i < node.size(); ++i) change_below(node.child(i).value);
  };
  change_below(m.read_superblock().writeset_tree_root);
  m.write({m.read_superblock().space_map.bitmap_root}, pd::block{});
}

using work = std::function<void(const std::string& path)>;

void check(const std::string& path) {
  const pd::block_device device(path, pd::access::shared);
  check_metadata(device, {}, [](const finding&) {});
}

void dump(const std::string& path) {
  const pd::block_device device(path, pd::access::shared);
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  const auto m = open_metadata(queue, device, source::live, [](const finding&) {});
  test::dump_metadata(
      *m, device, {.compact = true}, [](std::string_view) {}, [](const finding&) {});
}

void list(const std::string& path) {
  const pd::block_device device(path, pd::access::shared);
  change_lister(device, source::live, [](const finding&) {}).list({1, 5});
}

// A user who is asked for the number of blocks knows it.
repair_options given_for(const std::string& path) {
  const pd::block_device device(path, pd::access::shared);
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  const auto sb = read_superblock(queue, device.nr_blocks(), superblock_location,
                                  superblock_reading::once, ignore_findings);
  repair_options given;
  given.nr_blocks = sb.value().nr_blocks;
  return given;
}

void list_salvaged(const std::string& path) {
  const pd::block_device device(path, pd::access::shared);
  const repair_report ignored{[](const finding&) {}, [](const std::string&) {}};
  const metadata saved = salvage_metadata(device, given_for(path), ignored, [] {});
  list_blocks(saved, device, {1, 5}, loss_policy::assume_written, ignore_findings);
}

void repair(const std::string& path) {
  pd::test::scratch_device output(200'000);
  const repair_report ignored{[](const finding&) {}, [](const std::string&) {}};
  ASSERT_EQ(repair_to(path, output.path(), given_for(path), ignored), "");
}

std::string dumped;  // the XML of what is tried, for restore()

void restore(const std::string&) {
  const pd::test::scratch_device output(200'000);
  ASSERT_EQ(restore_to(output.path(), dumped), "");
}

struct command {
  const char* name;
  work run;
  bool makes_blocks = false;
};
const command commands[] = {{"check", check},         {"dump", dump},
                            {"list", list},           {"list what is salvaged", list_salvaged},
                            {"repair", repair, true}, {"restore", restore, true}};

// At the peak, the buffers of other threads may be in use or not: half a megabyte, as chance will
// have it. So the least of three peaks counts.
double peak_of(const std::function<void()>& run) {
  std::uint64_t least = ~std::uint64_t{0};
  for (int i = 0; i < 3; ++i) least = std::min<std::uint64_t>(least, sweep::measure(run).memory);
  return static_cast<double>(least);
}

// Expects that each further writeset takes each command `most` bytes at most. Both numbers of
// writesets have more leaves than a walk reads at once, so that its batch does not grow.
void expect_little_memory(std::uint32_t nr_bits, bool shared, double most) {
  constexpr std::uint32_t few = 52'000, many = 78'000;
  double peaks[2][std::size(commands)];
  for (const bool is_many : {false, true}) {
    built_metadata m(with_writesets(is_many ? many : few, nr_bits));
    dumped = dump_of(m.path(), {.compact = true});
    if (shared) share_bitset(m);
    for (std::size_t i = 0; i < std::size(commands); ++i)
      peaks[is_many][i] = peak_of([&] { commands[i].run(m.path()); });
  }
  for (std::size_t i = 0; i < std::size(commands); ++i) {
    const double each = (peaks[1][i] - peaks[0][i]) / (many - few);
    printf("%s: %.1f bytes a writeset, of %.1f\n", commands[i].name, each, most);
    // Repaired metadata has at least two blocks for each, so half as many fit on its device.
    EXPECT_LE(each, shared && commands[i].makes_blocks ? 2 * most : most) << commands[i].name;
  }
}

class ManyWritesets : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!memory_meter::works) GTEST_SKIP() << "a sanitizer replaces the allocator";
  }
};

// Without bits: each has one block. On the largest device four million fit.
TEST_F(ManyWritesets, WithoutBitsTakeLittleMemory) {
  expect_little_memory(0, false, most_per_writeset);
}

// With bits: each has at least two blocks, so half as many fit.
TEST_F(ManyWritesets, WithBitsTakeLittleMemory) {
  expect_little_memory(64, false, 2 * most_per_writeset);
}

// All but one are lies: as many fit as a leaf names, whatever they would need.
TEST_F(ManyWritesets, ThatShareABitsetTakeLittleMemory) {
  expect_little_memory(64, true, most_per_writeset);
}

// Writesets that claim the largest origin, on an origin that is claimed to be the largest. Each
// block that is there is read a few times at most, and nothing is done for each claim.
TEST(ClaimedWritesets, TakeNoTime) {
  built_metadata m(with_writesets(2'000, 64));
  pd::block b = m.read({m.read_superblock().writeset_tree_root});
  for (std::uint32_t leaf = 0; leaf < pd::node_view(b).size(); ++leaf) {
    const pd::block_nr where = pd::node_view(b).child(leaf);
    pd::block l = m.read(where);
    auto* values = reinterpret_cast<writeset_value*>(l.bytes.data() + sizeof(pd::node_header) +
                                                     pd::max_node_entries(12) * sizeof(pd::le64));
    for (std::uint32_t i = 0; i < pd::node_view(l).size(); ++i)
      values[i].nr_bits = max_origin_blocks;
    pd::prepare_for_write(pd::btree_node_kind, l, where);
    m.write(where, l);
  }
  const pd::block_device device(m.path(), pd::access::shared);
  const repair_report ignored{[](const finding&) {}, [](const std::string&) {}};
  repair_options given;
  given.nr_blocks = max_origin_blocks;
  const auto cost = sweep::measure([&] {
    const metadata saved = salvage_metadata(device, given, ignored, [] {});
    const change_list listed =
        list_blocks(saved, device, {1, 5}, loss_policy::assume_written, ignore_findings);
    EXPECT_EQ(listed.listed, max_origin_blocks);
  });
  EXPECT_LE(cost.reading, 8 * device.nr_blocks() * pd::block_size);
}

}  // namespace
}  // namespace era::test
