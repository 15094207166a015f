// SPDX-License-Identifier: GPL-3.0-or-later
// All that readers of every dialect share: positions, text, entities, ends. reader_test.cc and
// cache_dump_test.cc have the dialects.
#include "era/xml/expat_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "era/testing/error_of.h"

namespace era::xml {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string file_name = "file";

class recording_parser : public expat_parser {
 public:
  recording_parser() : expat_parser(file_name) {}

  std::vector<std::string> events;
  using expat_parser::end_of_tag;
  using expat_parser::fed;
  using expat_parser::in_leaf;
  using expat_parser::line;
  using expat_parser::skip_line;

 protected:
  void start_element(const attribute_list& list) override {
    if (element() == "throws") throw std::runtime_error("as it is");
    if (element() == "invalid") throw persistent_data::invalid_input("is wrong");
    if (list.has("strict")) expect("other", "<other>");
    if (element() == "leaf") open_leaf();
    events.push_back("+" + element());
  }
  void finish_element() override { events.push_back("-"); }
};

std::string error_of_text(const std::string& text, std::size_t piece = 1000) {
  return test::error_of<persistent_data::invalid_input>([&] {
    recording_parser parser;
    for (std::size_t at = 0; at < text.size(); at += piece)
      parser.feed(std::string_view(text).substr(at, piece), false);
    parser.feed("", true);
  });
}

TEST(ExpatParser, HandsElementsOn) {
  recording_parser parser;
  const std::string text = "<superblock>\n <a/>\n<b></b></superblock>\n";
  for (const char c : text) parser.feed({&c, 1}, false);
  parser.feed("", true);  // a newer expat puts a tag off that came in pieces
  EXPECT_EQ(parser.end_of_tag(), text.size() - 1);
  EXPECT_THAT(parser.events, ElementsAre("+superblock", "+a", "-", "+b", "-", "-"));
  EXPECT_EQ(parser.fed(), text.size());
}

TEST(ExpatParser, NamesTheLineAndTheElement) {
  for (const std::size_t piece : {1u, 7u, 1000u}) {
    EXPECT_EQ(error_of_text("<superblock>\n\n<invalid/></superblock>", piece),
              "file:3: invalid: is wrong");
    EXPECT_EQ(error_of_text("<superblock>\n<a strict=''/></superblock>", piece),
              "file:2: a: this element is not known here; expected <other>");
  }
}

TEST(ExpatParser, ALeafIsEmpty) {
  recording_parser parser;
  parser.feed("<superblock><leaf>\n", false);
  EXPECT_TRUE(parser.in_leaf());
  parser.feed("</leaf>\n", false);
  EXPECT_FALSE(parser.in_leaf());
  parser.feed("<leaf/><a/></superblock>", false);
  parser.feed("", true);
  EXPECT_THAT(parser.events, ElementsAre("+superblock", "+leaf", "+leaf", "+a", "-", "-"));
  EXPECT_EQ(error_of_text("<superblock>\n<leaf>\n<a/></leaf></superblock>"),
            "file:3: a: it stands inside an element that is empty");
}

TEST(ExpatParser, CountsLinesThatWereReadElsewhere) {
  recording_parser parser;
  parser.feed("<superblock>\n", false);
  parser.skip_line();
  parser.skip_line();
  EXPECT_EQ(parser.line(), 4u);
}

TEST(ExpatParser, LetsOtherExceptionsThrough) {
  EXPECT_THROW(error_of_text("<throws/>"), std::runtime_error);
}

TEST(ExpatParser, RefusesTextAndEntities) {
  EXPECT_EQ(error_of_text("<superblock>\n x</superblock>"),
            "file:2: text: there is text between the elements");
  EXPECT_THAT(error_of_text("<!DOCTYPE superblock [<!ENTITY e 'x'>]>\n<superblock/>"),
              HasSubstr("file:1: DOCTYPE: document type declarations"));
}

TEST(ExpatParser, SaysWhereATextIsCut) {
  EXPECT_EQ(error_of_text(""), "file:1: the file ends before a superblock begins");
  EXPECT_EQ(error_of_text("<superblock>\n<a/>\n"),
            "file:3: the file ends here, before </superblock>: it is truncated");
  EXPECT_THAT(error_of_text("<superblock/>\n<superblock/>"),
              HasSubstr("file:2: not well-formed XML: junk after document element"));
  EXPECT_THAT(error_of_text("<superblock/>\n<"), HasSubstr("file:2: not well-formed XML"));
  EXPECT_THAT(error_of_text("<superblock>\n</a>"), HasSubstr("file:2: not well-formed XML"));
}

TEST(ExpatParser, HoldsNoEndlessTag) {
  EXPECT_THAT(error_of_text("<superblock a='" + std::string(3 << 20, 'x'), 1 << 16),
              HasSubstr("file:1: a tag, text or comment is longer than 1048576 bytes"));
}

}  // namespace
}  // namespace era::xml
