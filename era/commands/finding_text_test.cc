// SPDX-License-Identifier: GPL-3.0-or-later
// JSON strings, and the two forms of a finding.
#include "era/commands/finding_text.h"

#include <gtest/gtest.h>

namespace era {
namespace {

TEST(JsonString, EscapesWhatHasToBe) {
  EXPECT_EQ(json_string("plain"), "\"plain\"");
  EXPECT_EQ(json_string("a\"b\\c"), "\"a\\\"b\\\\c\"");
  EXPECT_EQ(json_string("a\nb\x01"), "\"a\\u000ab\\u0001\"");
}

TEST(JsonString, KeepsUtf8AndReplacesTheRest) {
  EXPECT_EQ(json_string("\u00e4\u20ac\U0001F600"), "\"\u00e4\u20ac\U0001F600\"");
  EXPECT_EQ(json_string("a\xff"
                        "b"),
            "\"a\\ufffdb\"");
  EXPECT_EQ(json_string("\xc3"), "\"\\ufffd\"");                        // cut off
  EXPECT_EQ(json_string("\xc0\xaf"), "\"\\ufffd\\ufffd\"");             // overlong
  EXPECT_EQ(json_string("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");  // a surrogate
}

TEST(FindingText, IsOneLine) {
  const finding f{
      {part::writeset, {3}}, {7, 9}, {pd::error_class::bad_checksum, "it is wrong"}, {0, 64}};
  EXPECT_EQ(
      in_words("m.img", f),
      "m.img: metadata blocks 7 to 8: writeset of era 3: it is wrong; which of origin blocks 0 "
      "to 63 were written in era 3 is unknown");
}

TEST(FindingText, IsAnObject) {
  const finding f{
      {part::writeset, {3}}, {7, 9}, {pd::error_class::bad_checksum, "it is wrong"}, {0, 64}};
  EXPECT_EQ(in_json(f),
            "{\"fatal\":true,\"kind\":\"bad-checksum\",\"part\":\"writeset\",\"snapshot\":false,"
            "\"era\":3,\"metadata_blocks\":{\"begin\":7,\"end\":9},"
            "\"hidden\":{\"origin_blocks\":{\"begin\":0,\"end\":64}},\"what\":\"it is wrong\","
            "\"meaning\":\"which of origin blocks 0 to 63 were written in era 3 is unknown\"}");
}

}  // namespace
}  // namespace era
