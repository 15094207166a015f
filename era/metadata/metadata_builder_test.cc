// SPDX-License-Identifier: GPL-3.0-or-later
// Dump, restore, dump is the identity; what is refused, and in what words.
#include "era/metadata/metadata_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>

#include "era/testing/image_builder.h"
#include "era/testing/kernel_image.h"
#include "era/testing/round_trip.h"
#include "persistent-data/testing/faulty_device.h"

namespace era {
namespace {

using pd::test::scratch_device;
using test::built_metadata;
using test::dump_of;
using test::findings_in;
using test::metadata_description;
using test::restore_to;

constexpr test::dump_options full{}, compact{.compact = true};

// Not with EXPECT_EQ: texts of megabytes need not be printed.
bool same(const std::string& a, const std::string& b) { return a == b; }

// From the metadata at a path to another device and back.
void expect_identity(const std::string& path, source from = source::live) {
  scratch_device output(20000);
  const std::string xml = dump_of(path, full, from);
  const std::string runs = dump_of(path, compact, from);
  for (const auto* text : {&xml, &runs}) {
    // Something that must not come through.
    output[{0}].bytes.fill(std::byte{0xa5});
    ASSERT_EQ(restore_to(output.path(), *text), "");
    EXPECT_EQ(findings_in(output.path()), "");
    EXPECT_TRUE(same(dump_of(output.path(), full), xml));
    EXPECT_TRUE(same(dump_of(output.path(), compact), runs));
  }
}

TEST(Restore, BringsKernelMetadataBack) {
  for (const char* name : test::kernel_images) {
    SCOPED_TRACE(name);
    const test::memory_image image(name);
    expect_identity(image.path());
    if (image.blocks()[0].as<superblock>().metadata_snap != 0)
      expect_identity(image.path(), source::snapshot);
  }
}

metadata_description of_size(std::uint32_t nr_blocks) {
  metadata_description d;
  d.nr_blocks = nr_blocks;
  d.current_era = 300;
  d.era_of = [](std::uint64_t i) { return static_cast<std::uint32_t>(i * i / 7 % 250); };
  d.archived = {{250, nr_blocks, [](std::uint64_t i) { return i % 3 == 0; }},
                {251, nr_blocks / 2, [](std::uint64_t i) { return i % 1000 < 800; }},
                {299, nr_blocks + 70, [](std::uint64_t) { return true; }}};
  d.current = {300, nr_blocks, [](std::uint64_t i) { return i % 65 == 0; }};
  return d;
}

TEST(Restore, BringsMetadataOfEverySizeBack) {
  constexpr std::uint32_t sizes[] = {0,     1,     2,          63,           64,    65,
                                     127,   129,   1017,       1018,         1019,  32575,
                                     32576, 32577, 32576 + 64, 32576 + 1018, 65152, 2 * 32576 + 1};
  for (const std::uint32_t n : sizes) {
    SCOPED_TRACE(n);
    expect_identity(built_metadata(of_size(n)).path());
  }
}

TEST(Restore, BringsMetadataBackWhoseArrayHasTwoLevels) {
  for (const std::uint32_t n : {252u * 1018 - 1, 252u * 1018, 252u * 1018 + 1}) {
    SCOPED_TRACE(n);
    expect_identity(built_metadata(of_size(n)).path());
  }
}

TEST(Restore, BringsTwoMillionBlocksBack) {
  metadata_description d = of_size(2'000'003);
  d.archived.resize(1);
  expect_identity(built_metadata(d).path());
}

TEST(Restore, BringsMoreWritesetsBackThanALeafHolds) {
  metadata_description d = of_size(100);
  d.current_era = 1000;
  d.archived.clear();
  for (std::uint32_t era = 301; era < 801; ++era)
    d.archived.push_back({era, 100, [era](std::uint64_t i) { return i == era % 100; }});
  d.current.reset();
  expect_identity(built_metadata(d).path());
}

// --- Documents made by hand.

std::string document(const std::string& inside, std::uint32_t nr_blocks = 4) {
  return fmt::format(
      "<superblock uuid=\"\" block_size=\"128\" nr_blocks=\"{}\" "
      "current_era=\"9\">\n{}</superblock>\n",
      nr_blocks, inside);
}

const std::string array =
    "<era_array>\n<range block_begin=\"0\" len=\"4\" era=\"2\"/>\n</era_array>\n";

std::string writeset(int era, const std::string& inside = "", int nr_bits = 4) {
  return fmt::format("<writeset era=\"{}\" nr_bits=\"{}\">\n{}</writeset>\n", era, nr_bits, inside);
}

std::string marked(int begin, int len) {
  return fmt::format("<marked block_begin=\"{}\" len=\"{}\"/>\n", begin, len);
}

std::string bit(int block, bool value = true) {
  return fmt::format("<bit block=\"{}\" value=\"{}\"/>\n", block, value);
}

class RestoreByHand : public ::testing::Test {
 protected:
  RestoreByHand() { output[{0}].bytes.fill(std::byte{0xa5}); }

  std::string restored(const std::string& xml) {
    const std::string error = restore_to(output.path(), xml);
    return error.empty() ? dump_of(output.path(), compact) : error;
  }

  // Refused, and the output is left without a superblock.
  void expect_refused(const std::string& xml, const std::string& error) {
    output[{0}].bytes.fill(std::byte{0xa5});
    EXPECT_EQ(restore_to(output.path(), xml), error);
    EXPECT_TRUE(pd::is_zero(output[{0}]));
  }
  // Refused before anything was written.
  void expect_untouched(const std::string& xml, const std::string& error) {
    output[{0}].bytes.fill(std::byte{0xa5});
    EXPECT_EQ(restore_to(output.path(), xml), error);
    for (const std::byte b : output[{0}].bytes) ASSERT_EQ(b, std::byte{0xa5});
    EXPECT_TRUE(pd::is_zero(output[{1}]));
  }

  scratch_device output{64};
};

TEST_F(RestoreByHand, TakesWritesetsInAnyOrderAndPlace) {
  const std::string wanted =
      "<superblock uuid=\"\" block_size=\"128\" nr_blocks=\"4\" current_era=\"9\">\n"
      "  <writeset era=\"3\" nr_bits=\"4\">\n"
      "    <marked block_begin=\"1\" len=\"2\"/>\n"
      "  </writeset>\n"
      "  <writeset era=\"5\" nr_bits=\"4\">\n"
      "    <marked block_begin=\"0\" len=\"1\"/>\n"
      "  </writeset>\n"
      "  <writeset era=\"9\" nr_bits=\"4\">\n"
      "  </writeset>\n"
      "  <era_array>\n"
      "    <range block_begin=\"0\" len=\"4\" era=\"2\"/>\n"
      "  </era_array>\n"
      "</superblock>\n";
  std::vector<std::string> parts = {writeset(3, marked(1, 2)),
                                    writeset(5, bit(0) + bit(1, false) + bit(3, false)),
                                    writeset(9), array};
  std::sort(parts.begin(), parts.end());
  do {
    EXPECT_EQ(restored(document(parts[0] + parts[1] + parts[2] + parts[3])), wanted);
    EXPECT_EQ(findings_in(output.path()), "");
  } while (std::next_permutation(parts.begin(), parts.end()));
}

TEST_F(RestoreByHand, TakesFullAndCompactElementsMixed) {
  EXPECT_EQ(restored(document(writeset(4, bit(0) + marked(1, 2) + bit(3, false)) +
                              "<era_array><era block=\"0\" era=\"1\"/>"
                              "<range block_begin=\"1\" len=\"2\" era=\"0\"/>"
                              "<era block=\"3\" era=\"9\"/></era_array>")),
            restored(document(writeset(4, marked(0, 3)) +
                              "<era_array><range block_begin=\"0\" len=\"1\" era=\"1\"/>"
                              "<era block=\"1\" era=\"0\"/><era block=\"2\" era=\"0\"/>"
                              "<range block_begin=\"3\" len=\"1\" era=\"9\"/></era_array>")));
}

TEST_F(RestoreByHand, WritesWhatTheKernelWrites) {
  ASSERT_EQ(restore_to(output.path(), document(array + writeset(9, marked(0, 1)))), "");
  const auto& sb = output[{0}].as<superblock>();
  EXPECT_FALSE(validate_superblock(output[{0}], {0}));
  EXPECT_EQ(sb.flags, 0u);
  EXPECT_EQ(sb.metadata_block_size, 8u);
  EXPECT_EQ(sb.data_block_size, 128u);
  EXPECT_EQ(sb.current_era, 9u);
  // A writeset of the current era is an archived one: it was closed by an orderly shutdown.
  EXPECT_EQ(sb.current_root, 0u);
  EXPECT_EQ(sb.current_nr_bits, 0u);
  EXPECT_EQ(sb.metadata_snap, 0u);
  EXPECT_EQ(sb.space_map.nr_blocks, 64u);
}

// Digestion would write era 3 over era 4.
TEST_F(RestoreByHand, RefusesAWritesetThatTheArrayOutdoes) {
  const std::string newer =
      "<era_array>\n<range block_begin=\"0\" len=\"4\" era=\"4\"/>\n</era_array>\n";
  for (const bool array_first : {false, true}) {
    const std::string ws = writeset(3, marked(1, 2));
    expect_refused(document(array_first ? newer + ws : ws + newer),
                   "writeset of era 3: blocks that it lists have a newer era in the era array (2 "
                   "of them); the first is origin block 1 with era 4; digestion would give them "
                   "the older era: "
                   "restore what era_dump --logical prints");
  }
  EXPECT_EQ(restored(document(newer + writeset(3) + writeset(4, marked(1, 2)))).find("t.xml"),
            std::string::npos);
  EXPECT_EQ(findings_in(output.path()), "");
}

// The device loses an array block between the writing and the comparison.
TEST(Restore, FailsIfItCannotReadBackWhatItCompares) {
  scratch_device disk(200);
  pd::test::faulty_device device(disk);
  const auto open_damaged = [&] {
    for (std::uint64_t b = 1; b < disk.nr_blocks(); ++b)
      if (pd::identify(disk[{b}], {b}) == &pd::array_block_kind) disk.damage_block({b});
    return std::make_unique<pd::block_device>(disk.path(), pd::access::shared);
  };
  metadata_builder builder(
      [&](std::uint64_t) {
        return output_target{"disk", false, disk.nr_blocks(), [&] { return device.make_queue(); },
                             open_damaged};
      },
      [] {});
  builder.begin_superblock({128, 10, {5}});
  builder.begin_writeset({3}, 10);
  builder.bits({0, 10}, true);
  builder.end_writeset();
  builder.begin_era_array();
  builder.eras({0, 10}, {4});
  builder.end_era_array();
  builder.end_superblock();
  try {
    builder.commit();
    FAIL() << "it is committed";
  } catch (const pd::device_error& e) {
    EXPECT_NE(std::string(e.what()).find("era array: cannot be read back as it was written"),
              std::string::npos)
        << e.what();
  }
  EXPECT_EQ(builder.abandon(), output_state::unformatted);
  EXPECT_TRUE(pd::is_zero(disk[superblock_location]));
}

TEST_F(RestoreByHand, KeepsTheUuid) {
  const std::string uuid = "uuid=\"01234567-89ab-cdef-0123-456789abcdef\"";
  std::string xml = document(array);
  xml.replace(xml.find("uuid=\"\""), 7, uuid);
  EXPECT_NE(restored(xml).find(uuid), std::string::npos);
}

TEST_F(RestoreByHand, RefusesABlockSizeThatCannotBe) {
  for (const char* size : {"0", "1", "7", "9", "127", "4294967295"})
    expect_untouched(
        fmt::format("<superblock block_size=\"{}\" nr_blocks=\"4\" current_era=\"9\"/>", size),
        fmt::format("t.xml:1: superblock: block_size=\"{}\" cannot be; it is a multiple of 8 "
                    "sectors above 0",
                    size));
}

// era_check calls it damage: the kernel would begin era 0 after it.
TEST_F(RestoreByHand, RefusesACurrentEraPastTheLastOne) {
  expect_untouched("<superblock block_size=\"8\" nr_blocks=\"4\" current_era=\"4294967295\"/>",
                   "t.xml:1: superblock: current_era=\"4294967295\" cannot be; the last one is "
                   "4294967294");
}

TEST_F(RestoreByHand, RefusesMoreBlocksThanTheKernelTracks) {
  expect_untouched(document(array, 2147483648u),
                   "t.xml:1: superblock: nr_blocks=\"2147483648\" is too large; it can be "
                   "2147483647 at most");
  expect_refused(
      document("<writeset era=\"1\" nr_bits=\"2147483648\"/>"),
      "t.xml:2: writeset: nr_bits=\"2147483648\" is too large; it can be 2147483647 at most");
}

TEST_F(RestoreByHand, RefusesErasThatCannotBe) {
  expect_refused(document(writeset(10)), "t.xml:2: writeset: era=\"10\" is past the current era 9");
  expect_refused(document(writeset(0)),
                 "t.xml:2: writeset: era=\"0\" cannot be; the first era is 1");
  expect_refused(document(writeset(3) + array + writeset(3)),
                 "t.xml:7: writeset: there are two writesets of era 3");
  expect_refused(document("<era_array><era block=\"0\" era=\"10\"/>"),
                 "t.xml:2: era: era=\"10\" is past the current era 9");
}

TEST_F(RestoreByHand, RefusesListsThatDoNotAscend) {
  expect_refused(document(writeset(3, bit(1) + bit(2) + bit(1))),
                 "t.xml:5: bit: block 1 comes after block 2; blocks must ascend");
  expect_refused(document(writeset(3, bit(1) + bit(1, false))),
                 "t.xml:4: bit: block 1 is listed twice");
  expect_refused(document(writeset(3, marked(0, 3) + marked(2, 1))),
                 "t.xml:4: marked: block 2 is listed twice");
  expect_refused(document(writeset(3, marked(2, 2) + marked(0, 3))),
                 "t.xml:4: marked: block 0 comes after block 3; blocks must ascend");
  expect_refused(
      document("<era_array>\n<era block=\"0\" era=\"1\"/>\n<era block=\"1\" era=\"1\"/>\n"
               "<era block=\"0\" era=\"1\"/>"),
      "t.xml:5: era: block 0 comes after block 1; blocks must ascend");
  expect_refused(
      document("<era_array>\n<era block=\"0\" era=\"1\"/>\n<era block=\"0\" era=\"1\"/>\n"),
      "t.xml:4: era: block 0 is listed twice");
}

TEST_F(RestoreByHand, RefusesBlocksPastTheEnd) {
  expect_refused(document(writeset(3, bit(4))),
                 "t.xml:3: bit: block 4 is past the end; the writeset's nr_bits is 4");
  expect_refused(document(writeset(3, marked(2, 3))),
                 "t.xml:3: marked: block 4 is past the end; the writeset's nr_bits is 4");
  expect_refused(document(writeset(3, bit(0), 0)),
                 "t.xml:3: bit: block 0 is past the end; the writeset's nr_bits is 0");
  expect_refused(document("<era_array><range block_begin=\"0\" len=\"5\" era=\"1\"/>"),
                 "t.xml:2: range: block 4 is past the end; nr_blocks is 4");
  expect_refused(
      document(
          "<era_array><range block_begin=\"0\" len=\"4\" era=\"1\"/><era block=\"4\" era=\"1\"/>"),
      "t.xml:2: era: block 4 is past the end; nr_blocks is 4");
}

TEST_F(RestoreByHand, RefusesAnEraArrayWithHoles) {
  expect_refused(document("<era_array><era block=\"1\" era=\"1\"/>"),
                 "t.xml:2: era: block 0 is missing before block 1; every block needs its era");
  expect_refused(document("<era_array>\n<era block=\"0\" era=\"1\"/>\n</era_array>"),
                 "t.xml:4: era_array: blocks 1 to 3 are missing; every block needs its era");
  expect_refused(
      document("<era_array>\n<range block_begin=\"0\" len=\"3\" era=\"1\"/>\n</era_array>"),
      "t.xml:4: era_array: block 3 is missing; every block needs its era");
  expect_refused(document("<era_array/>"),
                 "t.xml:2: era_array: blocks 0 to 3 are missing; every block needs its era");
  expect_refused(document(""), "t.xml:2: superblock: it has no era_array");
  expect_refused(document(array + array), "t.xml:5: era_array: there are two era arrays");
}

// The superblock must not be there before the last byte was read.
TEST_F(RestoreByHand, RefusesWhatStandsBehindTheEnd) {
  expect_refused(document(array) + "rubbish",
                 "t.xml:6: not well-formed XML: junk after document element, in or after "
                 "<superblock>");
  expect_refused(document(array) + "<superblock/>",
                 "t.xml:6: not well-formed XML: junk after document element, in or after "
                 "<superblock>");
}

TEST_F(RestoreByHand, RefusesADocumentThatIsCutAnywhere) {
  const std::string xml = document(writeset(3, bit(1)) + array);
  const std::size_t end = xml.size() - 1;  // without its last newline it is whole
  for (std::size_t size = 0; size < end; ++size) {
    output[{0}].bytes.fill(std::byte{0});
    const std::string error = restore_to(output.path(), xml.substr(0, size));
    EXPECT_NE(error, "") << size;
    EXPECT_TRUE(pd::is_zero(output[{0}])) << size;
  }
  EXPECT_EQ(restore_to(output.path(), xml.substr(0, end)), "");
}

// --- Space.

TEST_F(RestoreByHand, NeedsTheBlocksThatItSays) {
  for (const std::uint32_t n : {0u, 1u, 1018u, 1019u, 30000u, 252u * 1018, 252u * 1018 + 1}) {
    SCOPED_TRACE(n);
    const std::string xml = document(
        n == 0 ? "<era_array/>"
               : fmt::format(
                     "<era_array><range block_begin=\"0\" len=\"{}\" era=\"1\"/></era_array>", n),
        n);
    const std::uint64_t need = blocks_needed(n, 1000);
    scratch_device fits(need);
    EXPECT_EQ(restore_to(fits.path(), xml), "");
    EXPECT_EQ(findings_in(fits.path()), "");
    EXPECT_EQ(fits[{0}].as<superblock>().space_map.nr_allocated, need);

    scratch_device small(need - 1);
    small[{0}].bytes.fill(std::byte{0xa5});
    EXPECT_EQ(restore_to(small.path(), xml),
              fmt::format("{0}: is too small: it has {1} metadata blocks ({2} bytes), and metadata "
                          "of {3} origin blocks needs {4} metadata blocks ({5} bytes) at least; "
                          "make it so large first: truncate -s {6}M {0}",
                          small.path(), need - 1, (need - 1) * 4096, n, need, need * 4096,
                          blocks_suggested(n) / 256));
    EXPECT_EQ(small[{0}].bytes[17], std::byte{0xa5});
  }
}

TEST_F(RestoreByHand, ATooSmallOutputForAWritesetIsFoundBeforeItIsWritten) {
  // The array takes one block and its tree one, so do bitsets.
  const std::uint64_t one_writeset = blocks_needed(4, 10) + 2;
  const std::string xml = document(array + writeset(3) + writeset(4));
  scratch_device small(one_writeset + 1), fits(one_writeset + 2);
  EXPECT_EQ(restore_to(small.path(), xml),
            fmt::format("{0}: is too small: it has 10 metadata blocks (40960 bytes), and what was "
                        "read up to the writeset of era 4 needs 11 metadata blocks (45056 bytes) "
                        "at least; make it so large first: truncate -s 1M {0}",
                        small.path()));
  EXPECT_TRUE(pd::is_zero(small[{0}]));
  EXPECT_EQ(restore_to(fits.path(), xml), "");
  EXPECT_EQ(findings_in(fits.path()), "");
}

TEST(BlocksSuggested, HoldsAllOfItTwiceInWholeMebibytes) {
  EXPECT_EQ(blocks_suggested(0), 256u);
  EXPECT_EQ(blocks_suggested(1000), 256u);
  for (const std::uint32_t n : {1'000'000u, 16'000'000u, 1'000'000'000u}) {
    EXPECT_GE(blocks_suggested(n), 2 * blocks_needed(n, 1));
    EXPECT_EQ(blocks_suggested(n) % 256, 0u);
  }
  EXPECT_EQ(blocks_suggested(max_origin_blocks), pd::max_metadata_blocks);
}

// --- Steps.

TEST(Restore, StepsWithinLongRuns) {
  scratch_device disk(20000);
  pd::test::faulty_device device(disk);
  int steps = 0, last = 1000;
  metadata_builder builder(
      [&](std::uint64_t) {
        return output_target{"out", false, 20000, [&] { return device.make_queue(); }};
      },
      [&] {
        if (++steps == last) throw std::runtime_error("enough");
      });
  builder.begin_superblock({128, 16'000'000, {9}});
  builder.begin_writeset({3}, 16'000'000);
  builder.bits({0, 10}, true);
  EXPECT_EQ(steps, 0);
  builder.bits({10, 8'000'000}, true);
  EXPECT_GE(steps, 7);
  builder.end_writeset();
  builder.begin_era_array();
  last = steps + 3;
  EXPECT_THROW(builder.eras({0, 16'000'000}, {1}), std::runtime_error);
  EXPECT_EQ(builder.abandon(), output_state::unformatted);
  EXPECT_LT(device.requests().back().end * pd::block_size, std::size_t{64} << 20);
}

// Also within a run of millions of blocks.
TEST(Restore, KnowsHowMuchOfTheMetadataIsWritten) {
  scratch_device disk(20000);
  pd::test::faulty_device device(disk);
  std::vector<metadata_builder::work> seen;
  const metadata_builder* built = nullptr;
  metadata_builder builder(
      [&](std::uint64_t) {
        return output_target{"out", false, 20000, [&] { return device.make_queue(); }, {}};
      },
      [&] { seen.push_back(built->progress()); });
  built = &builder;
  EXPECT_EQ(builder.progress().done + builder.progress().known_rest, 0u);
  builder.begin_superblock({128, 16'000'000, {9}});
  builder.begin_era_array();
  builder.eras({0, 16'000'000}, {1});
  ASSERT_GE(seen.size(), 15u);
  const std::uint64_t array_bytes = pd::array_blocks_for(16'000'000, 4) * pd::block_size;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    EXPECT_NEAR(static_cast<double>(seen[i].done + seen[i].known_rest),
                static_cast<double>(array_bytes), 3.0 * pd::block_size);
    EXPECT_EQ(seen[i].done >> 20, i * (1 << 20) / 1018 * pd::block_size >> 20);
  }
}

}  // namespace
}  // namespace era
