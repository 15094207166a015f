// SPDX-License-Identifier: GPL-3.0-or-later
// Whole documents in all forms, and that damage ends them.
#include "era/metadata/copy_metadata.h"

#include <gtest/gtest.h>

#include <string>

#include "era/testing/image_builder.h"
#include "era/testing/open_metadata.h"
#include "era/testing/round_trip.h"

namespace era {
namespace {

using era::test::built_metadata;
using era::test::dump_metadata;
using era::test::dump_options;
using era::test::metadata_description;
using era::test::open_metadata;

struct dumped_text {
  bool complete = false;
  std::string text;
  std::vector<finding> findings;
};

dumped_text dump(const std::string& path, dump_options options) {
  dumped_text result;
  const pd::block_device device(path, pd::access::reading);
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  const finding_sink sink = [&](finding f) { result.findings.push_back(std::move(f)); };
  const auto m = open_metadata(queue, device, source::live, sink);
  if (m && result.findings.empty())
    result.complete = dump_metadata(
        *m, device, options, [&](std::string_view text) { result.text += text; }, sink);
  return result;
}

metadata_description tiny() {
  metadata_description d;
  d.nr_blocks = 3;
  d.current_era = 7;
  d.era_of = [](std::uint64_t i) { return i == 2 ? 4u : 0u; };
  d.archived = {{6, 2, [](std::uint64_t i) { return i == 1; }}};
  d.current = {7, 3, [](std::uint64_t i) { return i == 0; }};
  return d;
}

TEST(CopyMetadata, WritesEverything) {
  const auto d = dump(built_metadata(tiny()).path(), {});
  EXPECT_TRUE(d.complete);
  EXPECT_EQ(d.text,
            "<superblock uuid=\"\" block_size=\"128\" nr_blocks=\"3\" current_era=\"7\">\n"
            "  <writeset era=\"6\" nr_bits=\"2\">\n"
            "    <bit block=\"0\" value=\"false\"/>\n"
            "    <bit block=\"1\" value=\"true\"/>\n"
            "  </writeset>\n"
            "  <writeset era=\"7\" nr_bits=\"3\">\n"
            "    <bit block=\"0\" value=\"true\"/>\n"
            "    <bit block=\"1\" value=\"false\"/>\n"
            "    <bit block=\"2\" value=\"false\"/>\n"
            "  </writeset>\n"
            "  <era_array>\n"
            "    <era block=\"0\" era=\"0\"/>\n"
            "    <era block=\"1\" era=\"0\"/>\n"
            "    <era block=\"2\" era=\"4\"/>\n"
            "  </era_array>\n"
            "</superblock>\n");
}

TEST(CopyMetadata, FoldsWhereItIsLogical) {
  const auto d = dump(built_metadata(tiny()).path(), {true, false});
  EXPECT_EQ(d.text,
            "<superblock uuid=\"\" block_size=\"128\" nr_blocks=\"3\" current_era=\"7\">\n"
            "  <era_array>\n"
            "    <era block=\"0\" era=\"7\"/>\n"
            "    <era block=\"1\" era=\"6\"/>\n"
            "    <era block=\"2\" era=\"4\"/>\n"
            "  </era_array>\n"
            "</superblock>\n");
}

TEST(CopyMetadata, WritesTheFrameOfWhatIsEmpty) {
  metadata_description d;
  d.archived = {{1, 0, [](std::uint64_t) { return false; }}};
  d.current_era = 2;
  EXPECT_EQ(dump(built_metadata(d).path(), {}).text,
            "<superblock uuid=\"\" block_size=\"128\" nr_blocks=\"0\" current_era=\"2\">\n"
            "  <writeset era=\"1\" nr_bits=\"0\">\n"
            "  </writeset>\n"
            "  <era_array>\n"
            "  </era_array>\n"
            "</superblock>\n");
}

// Runs go on over words, blocks and stripes; nothing is written for what is not marked.
TEST(CopyMetadata, JoinsRunsWhereItIsCompact) {
  metadata_description d;
  d.nr_blocks = 100000;
  d.current_era = 7;
  d.era_of = [](std::uint64_t i) { return i < 70000 ? 3u : 0u; };
  d.archived = {{5, 100000, [](std::uint64_t i) { return i >= 30 && i < 70001; }},
                {6, 100000, [](std::uint64_t i) { return i == 99999 || i / 2 == 32; }}};
  const built_metadata built(d);
  EXPECT_EQ(dump(built.path(), {false, true}).text,
            "<superblock uuid=\"\" block_size=\"128\" nr_blocks=\"100000\" current_era=\"7\">\n"
            "  <writeset era=\"5\" nr_bits=\"100000\">\n"
            "    <marked block_begin=\"30\" len=\"69971\"/>\n"
            "  </writeset>\n"
            "  <writeset era=\"6\" nr_bits=\"100000\">\n"
            "    <marked block_begin=\"64\" len=\"2\"/>\n"
            "    <marked block_begin=\"99999\" len=\"1\"/>\n"
            "  </writeset>\n"
            "  <era_array>\n"
            "    <range block_begin=\"0\" len=\"70000\" era=\"3\"/>\n"
            "    <range block_begin=\"70000\" len=\"30000\" era=\"0\"/>\n"
            "  </era_array>\n"
            "</superblock>\n");
  EXPECT_NE(dump(built.path(), {true, true})
                .text.find("    <range block_begin=\"30\" len=\"34\" era=\"5\"/>\n"),
            std::string::npos);
}

TEST(CopyMetadata, EndsAtDamage) {
  metadata_description d;
  d.nr_blocks = 100000;
  built_metadata built(d);
  const pd::block_device device(built.path(), pd::access::reading);
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  const auto m = open_metadata(queue, device, source::live, [](const finding&) {});
  const pd::block_nr lost = *m->eras.block(50);
  built.write(lost, pd::block{});
  for (const bool logical : {false, true})
    for (const bool compact : {false, true}) {
      const auto result = dump(built.path(), {logical, compact});
      EXPECT_FALSE(result.complete);
      EXPECT_EQ(result.text.find("</superblock>"), std::string::npos);
      ASSERT_EQ(result.findings.size(), 1u);
      EXPECT_EQ(result.findings[0].blocks.begin, lost.value);
    }
}

// The blocks of a dropped snapshot are reused: that is no damage.
TEST(CopyMetadata, DoesNotCallADroppedSnapshotDamaged) {
  metadata_description d;
  d.nr_blocks = 3000;
  built_metadata built(d);
  era::test::hold_snapshot(built);
  const pd::block_device device(built.path(), pd::access::shared);
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  const auto m = open_metadata(queue, device, source::snapshot, ignore_findings);
  const auto dump_and_drop = [&] {
    return dump_metadata(
        *m, device, {}, [](std::string_view) {},
        [&](const finding&) { era::test::drop_snapshot(built); });
  };
  EXPECT_TRUE(dump_and_drop());
  built.write(*m->eras.block(1), pd::block{});
  EXPECT_THROW(dump_and_drop(), pd::device_error);
}

TEST(CopyMetadata, PassesOnWhatItsOutputThrows) {
  metadata_description d;
  d.nr_blocks = 1000000;
  const built_metadata built(d);
  const pd::block_device device(built.path(), pd::access::reading);
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  const auto m = open_metadata(queue, device, source::live, [](const finding&) {});
  struct full {};
  EXPECT_THROW(dump_metadata(
                   *m, device, {}, [](std::string_view) { throw full(); }, [](const finding&) {}),
               full);
}

}  // namespace
}  // namespace era
