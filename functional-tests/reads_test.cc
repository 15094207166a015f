// SPDX-License-Identifier: GPL-3.0-or-later
// How often a repair reads the device: with a superblock, each block in use twice at most; without
// one, each block that was ever written three times at most.
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "era/metadata/copy_metadata.h"
#include "era/metadata/list_blocks.h"
#include "era/repair/salvage.h"
#include "era/testing/image_builder.h"
#include "era/testing/repaired.h"
#include "era/xml/xml_writer.h"

namespace era::test {
namespace {

metadata_description large_metadata() {
  metadata_description d;
  d.nr_blocks = 2'000'000;
  d.current_era = 9;
  d.era_of = [](std::uint64_t b) { return static_cast<std::uint32_t>(b % 4); };
  for (const std::uint32_t era : {4u, 6u, 7u})
    d.archived.push_back({era, d.nr_blocks, [era](std::uint64_t b) { return b % era == 0; }});
  d.current = {9, d.nr_blocks, [](std::uint64_t b) { return b % 1000 < 20; }};
  d.spare_blocks = 0;
  return d;
}

struct damage {
  const char* name;
  void (*make)(built_metadata&);
  bool has_superblock = true;
};

// The last block of content is the last that is read.
void lose_last_of_array(built_metadata& m) {
  std::uint64_t leaf = m.read_superblock().era_array_root;
  const auto size = [&] { return m.read({leaf}).as<pd::node_header>().nr_entries; };
  while (m.read({leaf}).as<pd::node_header>().flags != pd::leaf_node)
    leaf = leaf_value(m, leaf, size() - 1);
  lose(m, leaf_value(m, leaf, size() - 1));
}

const damage damages[] = {
    {"nothing", [](built_metadata&) {}},
    {"late content", lose_last_of_array},
    {"the current writeset", [](built_metadata& m) { lose(m, m.read_superblock().current_root); }},
    {"the writeset tree",
     [](built_metadata& m) { lose(m, m.read_superblock().writeset_tree_root); }},
    {"the space map",
     [](built_metadata& m) { lose(m, m.read_superblock().space_map.bitmap_root); }},
    {"the superblock", [](built_metadata& m) { lose(m, 0); }, false},
};

class Reads : public ::testing::TestWithParam<damage> {
 protected:
  // Salvages, and hands on what was salvaged; the blocks that were read may not be more than a
  // number of times all blocks. 2 % more are nodes of trees, which are few, and are read once more.
  template <class Use>
  void expect_few(Use use) {
    built_metadata built(large_metadata());
    GetParam().make(built);
    pd::block_device device(built.path(), pd::access::reading);
    std::atomic<std::uint64_t> bytes = 0;
    device.watch([&](std::uint64_t read) { bytes += read; });
    repair_options given;
    given.block_size = 128;
    given.nr_blocks = 2'000'000;
    const repair_report ignored{[](const finding&) {}, [](const std::string&) {}};
    use(salvage_metadata(device, given, ignored, [] {}), device);
    const double times =
        static_cast<double>(bytes) / static_cast<double>(device.nr_blocks() * pd::block_size);
    EXPECT_LE(times, (GetParam().has_superblock ? 2 : 3) * 1.02) << "for " << GetParam().name;
  }
};

TEST_P(Reads, AreFewForAList) {
  expect_few([](const metadata& m, const pd::block_device& device) {
    list_blocks(m, device, {3, 100}, loss_policy::assume_written, ignore_findings);
  });
}

TEST_P(Reads, AreFewForACopy) {
  for (const copy_form form : {copy_form::as_it_is, copy_form::logical})
    expect_few([&](const metadata& m, const pd::block_device& device) {
      xml_writer writer(xml_form::compact, [](std::string_view) {});
      EXPECT_TRUE(copy_metadata(m, device, writer, ignore_findings,
                                {.form = form, .losses = loss_policy::assume_written})
                      .is_complete);
    });
}

INSTANTIATE_TEST_SUITE_P(Damages, Reads, ::testing::ValuesIn(damages), [](const auto& d) {
  std::string name(d.param.name);
  std::erase(name, ' ');
  return name;
});

}  // namespace
}  // namespace era::test
