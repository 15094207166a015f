// SPDX-License-Identifier: GPL-3.0-or-later
// Lines of several words, and words that are numbers or are not.
#include "era/text/words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

namespace era {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Words, AreSeparatedByAnyNumberOfSeparators) {
  EXPECT_THAT(words_of(""), IsEmpty());
  EXPECT_THAT(words_of(" \t\r"), IsEmpty());
  EXPECT_THAT(words_of("a"), ElementsAre("a"));
  EXPECT_THAT(words_of("  a \t bc\r"), ElementsAre("a", "bc"));
  EXPECT_THAT(words_of("a\tb  c ", " "), ElementsAre("a\tb", "c"));
}

TEST(LeadingNumber, EndsBeforeTheFirstOtherCharacter) {
  const leading_number n = parse_leading_number("0123s4");
  EXPECT_EQ(n.status, number_status::fits);
  EXPECT_EQ(n.value, 123u);
  EXPECT_EQ(n.rest, "s4");
  EXPECT_FALSE(n.is_all());
}

TEST(LeadingNumber, MayBeAllOfTheText) {
  for (const auto& [text, value] : {std::pair<const char*, std::uint64_t>{"0", 0},
                                    {"08", 8},
                                    {"18446744073709551615", ~std::uint64_t{0}}}) {
    const leading_number n = parse_leading_number(text);
    EXPECT_TRUE(n.is_all()) << text;
    EXPECT_EQ(n.value, value);
  }
}

TEST(LeadingNumber, HasNoSignAndNoSpaceBeforeIt) {
  for (const char* text : {"", "x", "-1", "+1", " 1", "s1"}) {
    const leading_number n = parse_leading_number(text);
    EXPECT_EQ(n.status, number_status::none) << text;
    EXPECT_EQ(n.value, 0u);
    EXPECT_EQ(n.rest, text);
    EXPECT_FALSE(n.is_all());
  }
}

TEST(LeadingNumber, MayBeTooLarge) {
  const leading_number n = parse_leading_number("18446744073709551616 or so");
  EXPECT_EQ(n.status, number_status::too_large);
  EXPECT_EQ(n.value, 0u);
  EXPECT_EQ(n.rest, " or so");
  EXPECT_FALSE(parse_leading_number("99999999999999999999").is_all());
}

}  // namespace
}  // namespace era
