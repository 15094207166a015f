// SPDX-License-Identifier: GPL-3.0-or-later
// Each kind of attribute, and each way to be wrong.
#include "era/xml/attribute_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "era/testing/error_of.h"

namespace era::xml {
namespace {

using test::error_of;
using ::testing::HasSubstr;

// The attributes a="5", b="true", c="".
const char* given[] = {"a", "5", "b", "true", "c", "", nullptr};
const attribute_list list(given);

template <class Call>
std::string invalid(Call call) {
  return error_of<persistent_data::invalid_input>(call);
}

std::string error_of_number(const char* text, std::uint64_t max) {
  const char* one[] = {"n", text, nullptr};
  return invalid([&] { attribute_list(one).number("n", max); });
}

TEST(AttributeList, HasValues) {
  EXPECT_TRUE(list.has("a") && list.has("c") && !list.has("5"));
  EXPECT_EQ(list.text("b"), "true");
  EXPECT_EQ(list.text("c"), "");
  EXPECT_EQ(list.number("a", 5), 5u);
  EXPECT_EQ(list.number32("a"), 5u);
  EXPECT_TRUE(list.boolean("b"));
}

TEST(AttributeList, NamesWhatIsMissing) {
  EXPECT_EQ(invalid([] { list.text("d"); }), "attribute 'd' is missing");
  EXPECT_EQ(invalid([] { list.number("d", 9); }), "attribute 'd' is missing");
}

TEST(AttributeList, ReadsNumbersStrictly) {
  for (const char* wrong : {"", "x", "5x", " 5", "-5", "+5", "0x5", "5.0"})
    EXPECT_THAT(error_of_number(wrong, 9), HasSubstr("is not a number")) << wrong;
  EXPECT_EQ(error_of_number("9", 9), "");
  EXPECT_EQ(error_of_number("10", 9), "n=\"10\" is too large; it can be 9 at most");
  EXPECT_THAT(error_of_number("18446744073709551616", ~std::uint64_t{0}), HasSubstr("too large"));
  EXPECT_EQ(error_of_number("18446744073709551615", ~std::uint64_t{0}), "");
}

TEST(AttributeList, ReadsWordsStrictly) {
  EXPECT_EQ(invalid([] { list.boolean("a"); }), "a=\"5\" is neither true nor false");
  EXPECT_THAT(invalid([] { list.boolean("c"); }), HasSubstr("neither"));
}

TEST(AttributeList, KnowsAllOfThem) {
  EXPECT_EQ(invalid([] { list.nothing_but({"c", "b", "a", "d"}); }), "");
  EXPECT_EQ(invalid([] {
              list.nothing_but({"a", "c"});
            }),
            "attribute 'b' is not known; known here: a, c");
  EXPECT_THAT(invalid([] { list.nothing_but({}); }), HasSubstr("known here: none"));
}

}  // namespace
}  // namespace era::xml
