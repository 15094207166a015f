// SPDX-License-Identifier: GPL-3.0-or-later
// The reader reads what the writer wrote, in both forms.
#include "era/xml/xml_writer.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace era::xml {
namespace {

void feed(element_sink& d) {
  d.begin_superblock({128, 5, {7}});
  d.begin_writeset({6}, 4);
  d.bits({0, 1}, true);
  d.bits({1, 2}, true);
  d.bits({2, 4}, false);
  d.end_writeset();
  d.begin_era_array();
  d.eras({0, 2}, {3});
  d.eras({2, 3}, {3});
  d.eras({3, 5}, {0});
  d.end_era_array();
  d.end_superblock();
}

std::string printed(xml_form f) {
  std::string text;
  xml_writer p(f, [&](std::string_view piece) { text += piece; });
  feed(p);
  return text;
}

const char full[] =
    R"(<superblock uuid="" block_size="128" nr_blocks="5" current_era="7">
  <writeset era="6" nr_bits="4">
    <bit block="0" value="true"/>
    <bit block="1" value="true"/>
    <bit block="2" value="false"/>
    <bit block="3" value="false"/>
  </writeset>
  <era_array>
    <era block="0" era="3"/>
    <era block="1" era="3"/>
    <era block="2" era="3"/>
    <era block="3" era="0"/>
    <era block="4" era="0"/>
  </era_array>
</superblock>
)";

const char compact[] =
    R"(<superblock uuid="" block_size="128" nr_blocks="5" current_era="7">
  <writeset era="6" nr_bits="4">
    <marked block_begin="0" len="2"/>
  </writeset>
  <era_array>
    <range block_begin="0" len="3" era="3"/>
    <range block_begin="3" len="2" era="0"/>
  </era_array>
</superblock>
)";

TEST(XmlWriter, WritesEachBlockInFullAndRunsInCompactForm) {
  EXPECT_EQ(printed(xml_form::full), full);
  EXPECT_EQ(printed(xml_form::compact), compact);
}

TEST(XmlWriter, WritesWhatTheReaderReads) {
  for (const xml_form f : {xml_form::full, xml_form::compact}) {
    const std::string before = printed(f);
    std::string after;
    xml_writer p(f, [&](std::string_view piece) { after += piece; });
    std::size_t at = 0;
    const auto source = [&](char* to, std::size_t size) {
      const std::size_t n = std::min(size, before.size() - at);
      std::memcpy(to, before.data() + at, n);
      at += n;
      return n;
    };
    read(source, "t.xml", p);
    EXPECT_EQ(after, before);
  }
}

TEST(XmlWriter, HandsOverLongTextInPieces) {
  std::size_t pieces = 0, size = 0;
  xml_writer p(xml_form::full, [&](std::string_view piece) {
    ++pieces;
    size += piece.size();
    EXPECT_LT(piece.size(), std::size_t{4} << 20);
  });
  p.begin_superblock({128, 1000000, {7}});
  p.begin_era_array();
  p.eras({0, 1000000}, {5});
  p.end_era_array();
  p.end_superblock();
  EXPECT_GT(pieces, 5u);
  EXPECT_GT(size, std::size_t{25000000});
}

}  // namespace
}  // namespace era::xml
