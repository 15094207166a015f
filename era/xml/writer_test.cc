// SPDX-License-Identifier: GPL-3.0-or-later
// The XML, line by line; whole documents are compared in the functional tests.
#include "era/xml/writer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace era::xml {
namespace {

TEST(XmlWriter, WritesTheFrame) {
  superblock sb{};
  sb.data_block_size = 128;
  sb.nr_blocks = 2147483647;
  sb.current_era = 4294967295;
  std::fill(std::begin(sb.uuid), std::end(sb.uuid), 'x');
  text_buffer text;
  begin_superblock(text, sb);
  begin_writeset(text, {3}, 2048);
  end_writeset(text);
  begin_era_array(text);
  end_era_array(text);
  end_superblock(text);
  EXPECT_EQ(text.view(),
            "<superblock uuid=\"78787878-7878-7878-7878-787878787878\" block_size=\"128\" "
            "nr_blocks=\"2147483647\" "
            "current_era=\"4294967295\">\n"
            "  <writeset era=\"3\" nr_bits=\"2048\">\n"
            "  </writeset>\n"
            "  <era_array>\n"
            "  </era_array>\n"
            "</superblock>\n");
}

TEST(XmlWriter, WritesEveryBitOfAWord) {
  text_buffer text;
  const std::vector<pd::le64> words{std::uint64_t{1} << 63 | 1, std::uint64_t{2}};
  bits(text, {64, 64 + 66}, words);
  std::string expected;
  for (int i = 64; i < 64 + 66; ++i) {
    const bool set = i == 64 || i == 127 || i == 129;
    expected += "    <bit block=\"" + std::to_string(i) + "\" value=\"" + (set ? "true" : "false") +
                "\"/>\n";
  }
  EXPECT_EQ(text.view(), expected);
}

// From every digit on, and for every number of lines.
TEST(XmlWriter, WritesErasAcrossEveryCarry) {
  const std::vector<std::uint32_t> some{0, 7, 7, 10, 4294967295, 0, 1};
  for (const std::uint32_t tens : {0u, 90u, 9'990u, 2'147'483'610u})
    for (std::uint32_t first = tens; first < tens + 10; ++first)
      for (std::size_t size = 1; size < 25; ++size) {
        std::vector<std::uint32_t> values;
        std::string expected;
        for (std::size_t i = 0; i < size; ++i) {
          values.push_back(some[i % some.size()]);
          expected += "    <era block=\"" + std::to_string(first + i) + "\" era=\"" +
                      std::to_string(values[i]) + "\"/>\n";
        }
        text_buffer text;
        eras(text, {first}, values);
        ASSERT_EQ(text.view(), expected);
      }
}

TEST(XmlWriter, WritesNothingForNothing) {
  text_buffer text;
  bits(text, {0, 0}, {});
  eras(text, origin_block{0}, {});
  EXPECT_EQ(text.size(), 0u);
}

TEST(XmlWriter, WritesRuns) {
  text_buffer text;
  marked(text, {5, 8});
  era_range(text, {0, 2147483647}, {4294967295});
  EXPECT_EQ(text.view(),
            "    <marked block_begin=\"5\" len=\"3\"/>\n"
            "    <range block_begin=\"0\" len=\"2147483647\" era=\"4294967295\"/>\n");
}

}  // namespace
}  // namespace era::xml
