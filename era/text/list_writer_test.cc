// SPDX-License-Identifier: GPL-3.0-or-later
// The formats, byte for byte.
#include "era/text/list_writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

namespace era {
namespace {

std::string list(list_format format, std::uint64_t scale, const std::vector<origin_range>& blocks,
                 std::uint64_t limit = ~std::uint64_t{0}) {
  list_writer list(format, scale, limit);
  text_buffer text;
  list.begin(text, "");
  list.lines(text, blocks);
  list.end(text);
  return std::string(text.view());
}

TEST(ListWriter, IsXml) {
  EXPECT_EQ(
      list(list_format::xml, 1, {{5, 6}, {7, 18446744073709551615u}, {1000, 1001}, {1002, 1004}}),
      "<blocks>\n"
      "  <block block=\"5\"/>\n"
      "  <range begin=\"7\" end=\"18446744073709551615\"/>\n"
      "  <block block=\"1000\"/>\n"
      "  <range begin=\"1002\" end=\"1004\"/>\n"
      "</blocks>\n");
  EXPECT_EQ(list(list_format::xml, 1, {}), "<blocks>\n</blocks>\n");
}

TEST(ListWriter, IsText) {
  EXPECT_EQ(list(list_format::text, 1, {{5, 6}, {999, 1000}, {1000, 2147483647}}),
            "5 6\n999 1000\n1000 2147483647\n");
  EXPECT_EQ(list(list_format::text, 1, {}), "");
}

TEST(ListWriter, IsJsonExceptForTheFirstComma) {
  EXPECT_EQ(list(list_format::json, 1, {{5, 6}, {7, 10000}}),
            "{\"ranges\":[,\n{\"begin\":5,\"end\":6},\n{\"begin\":7,\"end\":10000}\n]}\n");
  EXPECT_EQ(list(list_format::json, 1, {}), "{\"ranges\":[\n]}\n");
  text_buffer text;
  list_writer(list_format::json, 1).begin(text, "\"count\":3");
  EXPECT_EQ(text.view(), "{\"count\":3,\n\"ranges\":[");
}

TEST(ListWriter, IsMessages) {
  EXPECT_EQ(list(list_format::messages, 1, {{5, 6}, {7, 10}, {4294967294, 4294967295}}),
            "invalidate_cblocks 5 7-10 4294967294\n");
  EXPECT_EQ(list(list_format::messages, 1, {}), "");
}

TEST(ListWriter, SplitsMessagesBelow4000Characters) {
  std::vector<origin_range> blocks;
  for (std::uint64_t b = 100; b < 1096; b += 2) blocks.push_back({b, b + 2});
  const auto first_line = [&] {
    const std::string text = list(list_format::messages, 1, blocks);
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
    return text.find('\n');
  };
  // "invalidate_cblocks", 449 times as " 100-102", " 998-1000", 38 times as " 1000-1002".
  EXPECT_EQ(first_line(), 18u + 449 * 8 + 9 + 38 * 10);
  EXPECT_EQ(first_line(), 3999u);
  blocks[0] = {10, 110};  // one character fewer
  EXPECT_EQ(first_line(), 3998u);
  blocks[0] = {10, 11000};  // one character more: the last run does not fit
  EXPECT_EQ(first_line(), 4000u - 10);
}

TEST(ListWriter, ContinuesAMessageInTheNextPiece) {
  list_writer messages(list_format::messages, 1);
  text_buffer text;
  std::string whole;
  for (std::uint64_t b = 0; b < 3000; b += 3) {
    text.clear();
    messages.lines(text, std::vector<origin_range>{{b, b + 1}});
    whole += text.view();
  }
  text.clear();
  messages.end(text);
  whole += text.view();
  std::istringstream lines(whole);
  std::uint64_t next = 0;
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LT(line.size(), 4000u);
    std::istringstream words(line);
    std::string word;
    words >> word;
    EXPECT_EQ(word, "invalidate_cblocks");
    for (; words >> word; next += 3) EXPECT_EQ(word, std::to_string(next));
  }
  EXPECT_EQ(next, 3000u);
}

TEST(ListWriter, IsAMapfileWithoutGaps) {
  const std::string head = "# Mapfile of the blocks that changed; + is changed\n0x0 ? 1\n";
  EXPECT_EQ(
      list(list_format::ddrescue, 4096, {{1, 3}, {5, 7}}, 10 * 4096),
      head + "0x0 0x1000 ?\n0x1000 0x2000 +\n0x3000 0x2000 ?\n0x5000 0x2000 +\n0x7000 0x3000 ?\n");
  EXPECT_EQ(list(list_format::ddrescue, 4096, {{0, 2}}, 6000), head + "0x0 0x1770 +\n");
  EXPECT_EQ(list(list_format::ddrescue, 4096, {}, 6000), head + "0x0 0x1770 ?\n");
  EXPECT_EQ(list(list_format::ddrescue, 4096, {}, 0), head);

  list_writer in_pieces(list_format::ddrescue, 512, 5 * 512);
  text_buffer text;
  for (const origin_range r : {origin_range{1, 2}, origin_range{4, 5}})
    in_pieces.lines(text, std::span(&r, 1));
  in_pieces.end(text);
  EXPECT_EQ(text.view(), "0x0 0x200 ?\n0x200 0x200 +\n0x400 0x400 ?\n0x800 0x200 +\n");
}

TEST(ListWriter, CutsTheLastBlockAtTheLimit) {
  EXPECT_EQ(list(list_format::text, 128, {{0, 1}, {3, 5}}, 600), "0 128\n384 600\n");
  EXPECT_EQ(list(list_format::xml, 128, {{3, 5}}, 600),
            "<blocks>\n  <range begin=\"384\" end=\"600\"/>\n</blocks>\n");
}

TEST(ListWriter, CountsInOtherUnits) {
  const std::vector<origin_range> blocks{{0, 1}, {3, 5}};
  EXPECT_EQ(list(list_format::text, 65536, blocks), "0 65536\n196608 327680\n");
  EXPECT_EQ(list(list_format::json, 128, blocks),
            "{\"ranges\":[,\n{\"begin\":0,\"end\":128},\n{\"begin\":384,\"end\":640}\n]}\n");
  EXPECT_EQ(list(list_format::xml, 128, blocks),
            "<blocks>\n"
            "  <range begin=\"0\" end=\"128\"/>\n"
            "  <range begin=\"384\" end=\"640\"/>\n"
            "</blocks>\n");
}

TEST(ListWriter, TakesMoreLinesThanItHadRoomFor) {
  std::vector<origin_range> blocks;
  std::string expected;
  for (std::uint64_t i = 0; i < 20000; ++i) {
    blocks.push_back({7 * i, 7 * i + 1 + i % 3});
    expected += std::to_string(7 * i) + ' ' + std::to_string(7 * i + 1 + i % 3) + '\n';
  }
  EXPECT_EQ(list(list_format::text, 1, blocks), expected);
}

}  // namespace
}  // namespace era
