// SPDX-License-Identifier: GPL-3.0-or-later
// A dump is read as cache_dump prints it; everything else is an error, word by word.
#include "era/cache/cache_dump.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

#include "persistent-data/format/errors.h"

namespace era {
namespace {

struct recorder : cache_mapping_sink {
  void begin(const cache_geometry& cache) override {
    text += std::to_string(cache.nr_blocks) + " blocks of " + std::to_string(cache.block_size);
  }
  void add(const cache_mapping& m) override {
    text += ", " + std::to_string(m.cache_block) + " has " + std::to_string(m.volume_block);
    if (m.is_dirty) text += " dirty";
  }
  std::string text;
};

xml::byte_source in_pieces(const std::string& text, std::size_t piece) {
  return [&text, piece, at = std::size_t{0}](char* buffer, std::size_t size) mutable {
    const std::size_t now = std::min({size, piece, text.size() - at});
    std::memcpy(buffer, text.data() + at, now);
    at += now;
    return now;
  };
}

std::string read(const std::string& text, std::size_t piece = std::string::npos) {
  recorder out;
  read_cache_dump(in_pieces(text, piece), "dump.xml", out);
  return out.text;
}

// The same however the document is cut into pieces.
std::string error_of(const std::string& text) {
  std::string error;
  for (const std::size_t piece : {std::size_t{1} << 20, std::size_t{7}, std::size_t{1}}) {
    std::string now = "none";
    try {
      read(text, piece);
    } catch (const pd::invalid_input& e) {
      now = e.what();
    }
    if (error.empty()) error = now;
    EXPECT_EQ(now, error) << "in pieces of " << piece;
  }
  return error;
}

const std::string whole =
    "<superblock uuid=\"\" block_size=\"128\" nr_cache_blocks=\"64\" policy=\"smq\" "
    "hint_width=\"4\">\n"
    "  <mappings>\n"
    "    <mapping cache_block=\"0\" origin_block=\"5\" dirty=\"true\"/>\n"
    "    <mapping cache_block=\"3\" origin_block=\"900\" dirty=\"false\"/>\n"
    "  </mappings>\n"
    "  <hints>\n"
    "    <hint cache_block=\"0\" data=\"AQAAAA==\"/>\n"
    "    <hint cache_block=\"3\" data=\"AQAAAA==\"/>\n"
    "  </hints>\n"
    "</superblock>\n";

std::string with(const std::string& what, const std::string& instead) {
  std::string text = whole;
  const auto at = text.find(what);
  EXPECT_NE(at, text.npos) << what;
  return text.replace(at, what.size(), instead);
}

TEST(CacheDump, IsRead) {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::string::npos})
    EXPECT_EQ(read(whole, piece), "64 blocks of 128, 0 has 5 dirty, 3 has 900");
  EXPECT_EQ(read("<superblock uuid=\"x\" block_size=\"2097152\" nr_cache_blocks=\"4294967295\" "
                 "policy=\"\" hint_width=\"0\"><mappings/></superblock>"),
            "4294967295 blocks of 2097152");
  EXPECT_EQ(read(with("cache_block=\"3\" origin_block=\"900\"",
                      "cache_block=\"63\" origin_block=\"140737488355327\"")),
            "64 blocks of 128, 0 has 5 dirty, 63 has 140737488355327");
}

// Every prefix lacks a mapping or the end.
TEST(CacheDump, IsNotReadIfItIsTruncated) {
  for (std::size_t size = 0; size + 1 < whole.size(); ++size) {
    const std::string error = error_of(whole.substr(0, size));
    EXPECT_TRUE(error.find("truncated") != error.npos ||
                error.find("ends before a superblock") != error.npos)
        << size << ": " << error;
  }
  EXPECT_EQ(error_of(whole.substr(0, whole.find("  <hints>"))),
            "dump.xml:6: the file ends here, before </superblock>: it is truncated");
  EXPECT_EQ(error_of(""), "dump.xml:1: the file ends before a superblock begins");
}

TEST(CacheDump, HasNoUnknownElement) {
  EXPECT_EQ(error_of("<era/>"),
            "dump.xml:1: era: this element is not known here; expected a superblock");
  EXPECT_EQ(error_of(with("  <mappings>\n", "  <discards/>\n  <mappings>\n")),
            "dump.xml:2: discards: this element is not known here; expected the mappings");
  EXPECT_EQ(error_of(with("<mapping ", "<map ")),
            "dump.xml:3: map: this element is not known here; expected a mapping");
  EXPECT_EQ(error_of(with("<hints>", "<mappings>")),
            "dump.xml:6: mappings: this element is not known here; expected the hints");
  EXPECT_EQ(error_of(with("<hint ", "<mapping ")),
            "dump.xml:7: mapping: this element is not known here; expected a hint");
  EXPECT_EQ(error_of(with("</superblock>", "<hints/></superblock>")),
            "dump.xml:10: hints: there are hints already");
  EXPECT_EQ(error_of(with("dirty=\"true\"/>", "dirty=\"true\"><mapping/></mapping>")),
            "dump.xml:3: mapping: it stands inside an element that is empty");
  EXPECT_EQ(error_of(with("  <mappings>", "  x<mappings>")),
            "dump.xml:2: text: there is text between the elements");
  EXPECT_EQ(error_of("<!DOCTYPE superblock>\n" + whole),
            "dump.xml:1: DOCTYPE: document type declarations and entities are not accepted");
  EXPECT_EQ(error_of(whole + "<superblock/>"),
            "dump.xml:11: not well-formed XML: junk after document element, in or after "
            "<superblock>");
  EXPECT_EQ(error_of("<superblock uuid=\"\" block_size=\"128\" nr_cache_blocks=\"64\" "
                     "policy=\"smq\" hint_width=\"4\"></superblock>"),
            "dump.xml:1: superblock: it has no mappings");
}

TEST(CacheDump, HasAllAttributesAndNoOther) {
  for (const char* attribute : {"uuid=\"\"", "block_size=\"128\"", "nr_cache_blocks=\"64\"",
                                "policy=\"smq\"", "hint_width=\"4\""}) {
    const std::string name(attribute, std::strchr(attribute, '='));
    EXPECT_EQ(error_of(with(attribute, "")),
              "dump.xml:1: superblock: attribute '" + name + "' is missing");
  }
  EXPECT_EQ(error_of(with("origin_block=\"5\"", "")),
            "dump.xml:3: mapping: attribute 'origin_block' is missing");
  EXPECT_EQ(error_of(with("cache_block=\"0\"", "")),
            "dump.xml:3: mapping: attribute 'cache_block' is missing");
  EXPECT_EQ(error_of(with(" dirty=\"true\"", "")),
            "dump.xml:3: mapping: attribute 'dirty' is missing");
  EXPECT_EQ(error_of(with(" data=\"AQAAAA==\"", "")),
            "dump.xml:7: hint: attribute 'data' is missing");
  EXPECT_EQ(error_of(with("uuid=", "current_era=\"1\" uuid=")),
            "dump.xml:1: superblock: attribute 'current_era' is not known; known here: uuid, "
            "block_size, nr_cache_blocks, policy, hint_width");
  EXPECT_EQ(error_of(with("<mappings>", "<mappings n=\"2\">")),
            "dump.xml:2: mappings: attribute 'n' is not known; known here: none");
  EXPECT_EQ(error_of(with("dirty=\"true\"", "dirty=\"true\" clean=\"no\"")),
            "dump.xml:3: mapping: attribute 'clean' is not known; known here: cache_block, "
            "origin_block, dirty");
  EXPECT_EQ(error_of(with("data=", "width=\"4\" data=")),
            "dump.xml:7: hint: attribute 'width' is not known; known here: cache_block, data");
}

TEST(CacheDump, HasNumbersInTheirRanges) {
  EXPECT_EQ(error_of(with("block_size=\"128\"", "block_size=\"0\"")),
            "dump.xml:1: superblock: block_size=\"0\" is not a multiple of 64 above 0");
  EXPECT_EQ(error_of(with("block_size=\"128\"", "block_size=\"96\"")),
            "dump.xml:1: superblock: block_size=\"96\" is not a multiple of 64 above 0");
  EXPECT_EQ(
      error_of(with("block_size=\"128\"", "block_size=\"2097216\"")),
      "dump.xml:1: superblock: block_size=\"2097216\" is too large; it can be 2097152 at most");
  EXPECT_EQ(error_of(with("\"64\"", "\"4294967296\"")),
            "dump.xml:1: superblock: nr_cache_blocks=\"4294967296\" is too large; it can be "
            "4294967295 at most");
  EXPECT_EQ(error_of(with("cache_block=\"3\"", "cache_block=\"64\"")),
            "dump.xml:4: mapping: cache_block=\"64\" is not below nr_cache_blocks=\"64\"");
  EXPECT_EQ(error_of(with("\"0\" data", "\"99\" data")),
            "dump.xml:7: hint: cache_block=\"99\" is not below nr_cache_blocks=\"64\"");
  EXPECT_EQ(error_of(with("\"900\"", "\"140737488355328\"")),
            "dump.xml:4: mapping: origin_block=\"140737488355328\" is too large; it can be "
            "140737488355327 at most");
  EXPECT_EQ(error_of(with("\"900\"", "\"18446744073709551616\"")),
            "dump.xml:4: mapping: origin_block=\"18446744073709551616\" is too large; it can be "
            "140737488355327 at most");
  EXPECT_EQ(error_of(with("\"900\"", "\"-1\"")),
            "dump.xml:4: mapping: origin_block=\"-1\" is not a number");
  EXPECT_EQ(error_of(with("\"900\"", "\"\"")),
            "dump.xml:4: mapping: origin_block=\"\" is not a number");
  EXPECT_EQ(error_of(with("dirty=\"true\"", "dirty=\"1\"")),
            "dump.xml:3: mapping: dirty=\"1\" is neither true nor false");
  EXPECT_EQ(error_of(with("AQAAAA==", "A Q")), "dump.xml:7: hint: data=\"A Q\" is not base64");
}

TEST(CacheDump, HasNoBlockTwice) {
  EXPECT_EQ(error_of(with("cache_block=\"3\"", "cache_block=\"0\"")),
            "dump.xml:4: mapping: cache_block=\"0\" comes after 0; they must ascend");
  EXPECT_EQ(error_of(with("cache_block=\"0\"", "cache_block=\"5\"")),
            "dump.xml:4: mapping: cache_block=\"3\" comes after 5; they must ascend");
  EXPECT_EQ(error_of(with("\"3\" data", "\"0\" data")),
            "dump.xml:8: hint: cache_block=\"0\" comes after 0; they must ascend");
  EXPECT_EQ(error_of(with("\"900\"", "\"5\"")),
            "dump.xml:4: mapping: origin_block=\"5\" is in the mapping of line 3, too");
}

}  // namespace
}  // namespace era
