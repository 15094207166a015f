// SPDX-License-Identifier: GPL-3.0-or-later
// The reader's results for documents, and its errors, word by word, for everything else.
#include "era/xml/reader.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "era/testing/recorded_document.h"

namespace era::xml {
namespace {

using test::error_of;
using test::recorder;

// The same however the document is cut into pieces.
std::string error_of(const std::string& xml) {
  recorder out;
  const std::string error = error_of(xml, out);
  for (const std::size_t piece : {1u, 7u}) {
    recorder again;
    EXPECT_EQ(error_of(xml, again, piece), error);
    EXPECT_EQ(again.text, out.text);
  }
  return error;
}

const std::string head =
    "<superblock uuid=\"\" block_size=\"128\" nr_blocks=\"4\" current_era=\"9\">\n";
const std::string whole = head +
                          "  <writeset era=\"3\" nr_bits=\"4\">\n"
                          "    <bit block=\"0\" value=\"false\"/>\n"
                          "    <bit block=\"1\" value=\"true\"/>\n"
                          "    <marked block_begin=\"2\" len=\"2\"/>\n"
                          "  </writeset>\n"
                          "  <era_array>\n"
                          "    <era block=\"0\" era=\"5\"/>\n"
                          "    <era block=\"1\" era=\"0\"/>\n"
                          "    <range block_begin=\"2\" len=\"2\" era=\"7\"/>\n"
                          "  </era_array>\n"
                          "</superblock>\n";
const std::string told =
    "superblock 128 4 9\nwriteset 3 4\nbits 0 1 false\nbits 1 4 true\nend writeset\n"
    "array\neras 0 1 5\neras 1 2 0\neras 2 4 7\nend array\nend superblock\n";

std::string in_writeset(const std::string& inside) {
  return head + "<writeset era=\"3\" nr_bits=\"4\">\n" + inside;
}
std::string in_array(const std::string& inside) { return head + "<era_array>\n" + inside; }

std::string without(std::string text, const std::string& what) {
  for (auto at = text.find(what); at != text.npos; at = text.find(what))
    text.erase(at, what.size());
  return text;
}

std::string with(std::string text, const std::string& what, const std::string& instead) {
  for (auto at = text.find(what); at != text.npos; at = text.find(what, at + instead.size()))
    text.replace(at, what.size(), instead);
  return text;
}

// --- What is accepted.

TEST(XmlReader, TellsWhatIsThereInPiecesOfAnySize) {
  for (std::size_t piece = 1; piece <= whole.size(); ++piece) {
    recorder out;
    EXPECT_EQ(error_of(whole, out, piece), "");
    ASSERT_EQ(out.text, told) << piece;
  }
}

TEST(XmlReader, TakesXmlHoweverItIsWritten) {
  const std::string variants[] = {
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- a comment -->\n" + whole,
      "\xef\xbb\xbf" + whole,
      without(whole, "\n"),
      without(without(whole, "\n"), "  "),
      with(whole, "\n", "\r\n"),
      with(whole, "\"", "'"),
      with(whole, "/>", " />"),
      with(whole, "<era block=\"1\" era=\"0\"/>", "<era\n era = \"0\"\tblock=\"1\"></era>"),
      with(whole, "<era block=\"1\"", "<!-- <era block=\"1\" era=\"1\"/> --><era block=\"1\""),
      with(whole, "<era block=\"1\"", "<?pi?><era block=\"&#49;\""),
      with(whole, "    <era block=\"1\"",
           "<!--\n    <era block=\"1\" era=\"8\"/>\n-->\n    <era block=\"1\""),
      with(whole, "    <bit block=\"1\"", "<![CDATA[\n]]>\n    <bit block=\"1\""),
      with(whole, "    <bit block=\"1\"",
           "<?pi\n    <bit block=\"1\" value=\"true\"/>\n?>\n    <bit block=\"1\""),
      with(whole, "\"5\"", "\"05\""),
  };
  for (const std::string& xml : variants) {
    for (const std::size_t piece : {1u << 20, 1u, 5u}) {
      recorder out;
      EXPECT_EQ(error_of(xml, out, piece), "") << xml;
      EXPECT_EQ(out.text, told) << xml;
    }
  }
}

TEST(XmlReader, TakesUtf16) {
  std::string wide = "\xff\xfe";
  for (const char c : whole) wide += c, wide += '\0';
  recorder out;
  EXPECT_EQ(error_of(wide, out), "");
  EXPECT_EQ(out.text, told);
}

// --- Numbers.

TEST(XmlReader, ReadsNumbersUpToTheirLimits) {
  recorder out;
  EXPECT_EQ(
      error_of("<superblock block_size=\"4294967295\" nr_blocks=\"2147483647\" "
               "current_era=\"4294967295\"><writeset era=\"4294967295\" nr_bits=\"2147483647\">"
               "<bit block=\"2147483647\" value=\"true\"/></writeset></superblock>",
               out),
      "");
  EXPECT_EQ(out.text,
            "superblock 4294967295 2147483647 4294967295\nwriteset 4294967295 2147483647\n"
            "bits 2147483647 2147483648 true\nend writeset\nend superblock\n");
}

TEST(XmlReader, RefusesNumbersThatAreNone) {
  for (const char* wrong :
       {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "1e3", "one", "1,", "\xc2\xb9"})
    for (const std::string piece :
         {"    <era block=\"{}\" era=\"1\"/>\n", "    <era block=\"0\" era=\"{}\"/>\n"}) {
      const std::string attribute = piece.find("block=\"{}") != piece.npos ? "block" : "era";
      std::string shown = wrong;
      for (char& c : shown)
        if (static_cast<unsigned char>(c) >= 0x80) c = '?';
      EXPECT_EQ(error_of(in_array(with(piece, "{}", wrong))),
                fmt::format("t.xml:3: era: {}=\"{}\" is not a number", attribute, shown));
    }
}

TEST(XmlReader, RefusesNumbersThatAreTooLarge) {
  for (const char* wrong : {"4294967296", "18446744073709551616", "99999999999999999999999999"}) {
    EXPECT_EQ(
        error_of(in_array(fmt::format("    <era block=\"0\" era=\"{}\"/>\n", wrong))),
        fmt::format("t.xml:3: era: era=\"{}\" is too large; it can be 4294967295 at most", wrong));
    EXPECT_EQ(error_of(in_array(fmt::format("    <era block=\"{}\" era=\"1\"/>\n", wrong))),
              fmt::format("t.xml:3: era: block=\"{}\" is too large; it can be 2147483647 at most",
                          wrong));
  }
  EXPECT_EQ(error_of(in_writeset("    <bit block=\"2147483648\" value=\"true\"/>\n")),
            "t.xml:3: bit: block=\"2147483648\" is too large; it can be 2147483647 at most");
  EXPECT_EQ(error_of(in_writeset("<marked block_begin=\"0\" len=\"2147483648\"/>")),
            "t.xml:3: marked: len=\"2147483648\" is too large; it can be 2147483647 at most");
  EXPECT_EQ(error_of(in_writeset("<marked block_begin=\"0\" len=\"0\"/>")),
            "t.xml:3: marked: len=\"0\" is no run of blocks");
  EXPECT_EQ(
      error_of("<superblock block_size=\"4294967296\" nr_blocks=\"1\" current_era=\"1\"/>"),
      "t.xml:1: superblock: block_size=\"4294967296\" is too large; it can be 4294967295 at most");
}

TEST(XmlReader, RefusesValuesThatAreNeitherTrueNorFalse) {
  for (const char* wrong : {"", "True", "1", "yes", " true", "falsetrue"})
    EXPECT_EQ(error_of(in_writeset(fmt::format("    <bit block=\"1\" value=\"{}\"/>\n", wrong))),
              fmt::format("t.xml:3: bit: value=\"{}\" is neither true nor false", wrong));
}

// --- Attributes and elements.

TEST(XmlReader, RefusesMissingAttributes) {
  const auto missing = [](const std::string& xml, const std::string& element,
                          const std::string& name) {
    EXPECT_NE(error_of(xml).find(element + ": attribute '" + name + "' is missing"),
              std::string::npos)
        << error_of(xml);
  };
  missing(without(whole, " block_size=\"128\""), "t.xml:1: superblock", "block_size");
  missing(without(whole, " nr_blocks=\"4\""), "t.xml:1: superblock", "nr_blocks");
  missing(without(whole, " current_era=\"9\""), "t.xml:1: superblock", "current_era");
  missing(without(whole, " era=\"3\""), "t.xml:2: writeset", "era");
  missing(without(whole, " nr_bits=\"4\""), "t.xml:2: writeset", "nr_bits");
  missing(without(whole, " value=\"false\""), "t.xml:3: bit", "value");
  missing(without(whole, " block=\"1\""), "t.xml:4: bit", "block");
  missing(without(whole, " block_begin=\"2\""), "t.xml:5: marked", "block_begin");
  missing(without(whole, " len=\"2\""), "t.xml:5: marked", "len");
  missing(without(whole, " era=\"5\""), "t.xml:8: era", "era");
  missing(without(whole, " era=\"7\""), "t.xml:10: range", "era");
  EXPECT_EQ(error_of(without(whole, " uuid=\"\"")), "");
}

TEST(XmlReader, RefusesUnknownAttributes) {
  EXPECT_EQ(error_of(with(whole, "uuid=", "flags=\"\" uuid=")),
            "t.xml:1: superblock: attribute 'flags' is not known; known here: uuid, block_size, "
            "nr_blocks, current_era");
  EXPECT_EQ(error_of(with(whole, "nr_bits", "bits")),
            "t.xml:2: writeset: attribute 'bits' is not known; known here: era, nr_bits");
  EXPECT_EQ(error_of(with(whole, "value=\"true\"", "value=\"true\" x=\"\"")),
            "t.xml:4: bit: attribute 'x' is not known; known here: block, value");
  EXPECT_EQ(error_of(with(whole, "<marked", "<marked era=\"1\"")),
            "t.xml:5: marked: attribute 'era' is not known; known here: block_begin, len");
  EXPECT_EQ(error_of(with(whole, "<era_array", "<era_array nr=\"1\"")),
            "t.xml:7: era_array: attribute 'nr' is not known; known here: none");
  EXPECT_EQ(error_of(with(whole, "era=\"5\"", "era=\"5\" ERA=\"5\"")),
            "t.xml:8: era: attribute 'ERA' is not known; known here: block, era");
  EXPECT_EQ(error_of(with(whole, "<range", "<range end=\"5\"")),
            "t.xml:10: range: attribute 'end' is not known; known here: block_begin, len, era");
}

TEST(XmlReader, RefusesRepeatedAttributes) {
  EXPECT_EQ(error_of(with(whole, "era=\"5\"", "era=\"5\" era=\"5\"")),
            "t.xml:8: not well-formed XML: duplicate attribute, in or after <era_array>");
}

TEST(XmlReader, RefusesUnknownElements) {
  EXPECT_EQ(error_of("<metadata/>"),
            "t.xml:1: metadata: this element is not known here; expected a superblock");
  EXPECT_EQ(error_of(head + "<bit block=\"0\" value=\"true\"/>"),
            "t.xml:2: bit: this element is not known here; expected a writeset or an era_array");
  EXPECT_EQ(error_of(in_writeset("    <era block=\"0\" era=\"1\"/>\n")),
            "t.xml:3: era: this element is not known here; expected a bit or a marked");
  EXPECT_EQ(error_of(in_array("    <bit block=\"0\" value=\"true\"/>\n")),
            "t.xml:3: bit: this element is not known here; expected an era or a range");
  EXPECT_EQ(error_of(in_array("<era block=\"0\" era=\"1\"><x/></era>")),
            "t.xml:3: x: it stands inside an element that is empty");
}

TEST(XmlReader, RefusesText) {
  EXPECT_EQ(error_of(head + "hello"), "t.xml:2: text: there is text between the elements");
  EXPECT_EQ(error_of(in_array("\n    <era block=\"0\" era=\"1\"/>\nx\n")),
            "t.xml:5: text: there is text between the elements");
  EXPECT_EQ(error_of(in_array("    <era block=\"0\" era=\"1\"/>x\n")),
            "t.xml:3: text: there is text between the elements");
  EXPECT_EQ(error_of("hello"), "t.xml:1: not well-formed XML: syntax error");
}

// --- XML that is hostile.

TEST(XmlReader, RefusesDocumentTypes) {
  const std::string wanted =
      "t.xml:1: DOCTYPE: document type declarations and entities are not accepted";
  EXPECT_EQ(error_of("<!DOCTYPE superblock>\n" + whole), wanted);
  EXPECT_EQ(error_of("<!DOCTYPE superblock SYSTEM \"file:///etc/passwd\">\n" + whole), wanted);
  EXPECT_EQ(error_of("<!DOCTYPE s [<!ENTITY a \"1\">]>\n" + with(whole, "\"5\"", "\"&a;\"")),
            wanted);
}

TEST(XmlReader, RefusesABillionLaughsAtItsFirstLine) {
  std::string xml = "<!DOCTYPE lolz [\n<!ENTITY l0 \"lol\">\n";
  for (int i = 1; i < 10; ++i) {
    xml += fmt::format("<!ENTITY l{} \"", i);
    for (int k = 0; k < 10; ++k) xml += fmt::format("&l{};", i - 1);
    xml += "\">\n";
  }
  recorder out;
  EXPECT_EQ(error_of(xml + "]>\n" + head + "&l9;", out),
            "t.xml:1: DOCTYPE: document type declarations and entities are not accepted");
  EXPECT_EQ(out.text, "");
}

TEST(XmlReader, RefusesUndefinedEntities) {
  EXPECT_EQ(error_of(in_array("<era block=\"&one;\" era=\"1\"/>")),
            "t.xml:3: not well-formed XML: undefined entity, in or after <era_array>");
}

TEST(XmlReader, ShowsLittleOfWhatIsWrong) {
  const std::string error =
      error_of(in_array("<era block=\"" + std::string(100000, '1') + "\" era=\"1\"/>"));
  EXPECT_EQ(error, "t.xml:3: era: block=\"" + std::string(60, '1') +
                       "...\" is too large; it can be 2147483647 at most");
  EXPECT_EQ(error_of(in_array("<era block=\"\xc2\x9b"
                              "31m\" era=\"1\"/>")),
            "t.xml:3: era: block=\"??31m\" is not a number");
}

// --- Ends.

TEST(XmlReader, FindsEveryTruncation) {
  const std::size_t end = whole.size() - 1;  // without its last newline it is whole
  for (std::size_t size = 0; size < end; ++size) {
    const std::string cut = whole.substr(0, size);
    const auto line = 1 + std::count(cut.begin(), cut.end(), '\n');
    recorder out;
    const std::string error = error_of(cut, out);
    const std::string wanted = size < head.size() - 1
                                   ? "the file ends before a superblock begins"
                                   : "the file ends here, before </superblock>: it is truncated";
    ASSERT_EQ(error, fmt::format("t.xml:{}: {}", line, wanted)) << size;
    ASSERT_EQ(out.text.find("end superblock"), std::string::npos);
  }
  EXPECT_EQ(error_of(whole.substr(0, end)), "");
}

TEST(XmlReader, RefusesAnythingAfterTheEnd) {
  EXPECT_EQ(error_of(whole + "x"),
            "t.xml:13: not well-formed XML: junk after document element, in or after <superblock>");
  EXPECT_EQ(error_of(whole + "<!-- unfinished"),
            "t.xml:13: not well-formed XML: unclosed token, in or after <superblock>");
  EXPECT_EQ(error_of(whole + "<!-- finished -->\n"), "");
}

TEST(XmlReader, NamesTagsThatDoNotMatch) {
  EXPECT_EQ(error_of(head + "</superblok>"),
            "t.xml:2: not well-formed XML: mismatched tag, in or after <superblock>");
}

TEST(XmlReader, HoldsNoTokenOfAnyLength) {
  const std::string wanted = "t.xml:3: a tag, text or comment is longer than 1048576 bytes";
  for (const char* begin : {"<era block=\"", "<!-- ", "<?pi "}) {
    recorder out;
    EXPECT_EQ(error_of(in_array(begin + std::string(8 << 20, '1')), out), wanted) << begin;
  }
}

// It would take minutes if each line of them were looked at again with all that came before.
TEST(XmlReader, TakesAsLongForManyLinesAsForOne) {
  const std::string lines(500'000, '\n');
  for (const std::string& inside : {"<era" + lines + "block=\"x\" era=\"1\"/>\n",
                                    "<!--" + lines + "--><era block=\"x\" era=\"1\"/>\n",
                                    lines + "<era block=\"x\" era=\"1\"/>\n"}) {
    const std::size_t line = inside.starts_with("<era") ? 3 : 3 + lines.size();
    recorder out;
    EXPECT_EQ(error_of(in_array(inside), out),
              fmt::format("t.xml:{}: era: block=\"x\" is not a number", line));
  }
  // The last of these lines is taken by the shortcut.
  std::string bits;
  for (int b = 0; b < 40'000; ++b)
    bits += fmt::format("    <bit block=\"{}\" value=\"true\"/>\n", b);
  recorder fast;
  fast.refused = 39'999;
  EXPECT_EQ(error_of(in_writeset("<!--" + lines + "-->\n" + bits), fast),
            fmt::format("t.xml:{}: bit: no such thing", 3 + lines.size() + 1 + 39'999));
}

// --- The shortcut.

// The error of a wrong document does not tell by which of the two ways it was read.
TEST(XmlReader, TellsTheSameWithAndWithoutTheShortcut) {
  const auto expect_same = [](const std::string& xml) {
    recorder fast, slow;
    const std::string error = error_of(xml, fast);
    EXPECT_EQ(error, error_of(xml, slow, 1 << 20, shortcut::not_taken)) << xml;
    // How much is told before an error may differ by what the parser had not looked at yet.
    EXPECT_EQ(fast.text, slow.text) << xml;
  };
  const auto bytes = std::string_view("\"<>/\n\r =-09x&\0\xff", 15);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    expect_same(whole.substr(0, at) + whole.substr(at + 1));
    for (const char c : bytes) {
      std::string changed = whole;
      changed[at] = c;
      expect_same(changed);
      expect_same(whole.substr(0, at) + c + whole.substr(at));
    }
    for (const char* more :
         {"<!--\n", "-->\n", "<![CDATA[", "]]>", "<?p\n", "?>", "</writeset>", "<era_array>\n",
          "    <bit block=\"3\" value=\"true\"/>\n", "    <era block=\"3\" era=\"1\"/>\n",
          "    <marked block_begin=\"3\" len=\"0\"/>\n",
          "    <range block_begin=\"3\" len=\"2147483648\" era=\"1\"/>\n"})
      expect_same(whole.substr(0, at) + more + whole.substr(at));
  }
}

// Lines that differ from the one before by the last digit of their block alone are taken together.
TEST(XmlReader, TellsTheSameOfLinesThatAreAlike) {
  std::string bits, eras;
  for (int b = 7; b < 24; ++b) {
    bits += fmt::format("    <bit block=\"{}\" value=\"{}\"/>\n", b, b < 14);
    eras += fmt::format("    <era block=\"{}\" era=\"{}\"/>\n", b, b == 15 ? 6 : 5);
  }
  const auto expect_same = [](const std::string& xml, std::uint64_t refused, std::size_t piece) {
    recorder fast, slow;
    fast.refused = slow.refused = refused;
    ASSERT_EQ(error_of(xml, fast, piece), error_of(xml, slow, 1 << 20, shortcut::not_taken)) << xml;
    ASSERT_EQ(fast.text, slow.text) << xml;
  };
  for (std::size_t piece = 1; piece < bits.size(); ++piece)
    expect_same(in_writeset(bits), 1000, piece);
  for (std::uint64_t refused = 7; refused < 24; ++refused)
    expect_same(in_writeset(bits), refused, 1 << 20);
  for (const std::string& lines : {in_writeset(bits), in_array(eras)})
    for (std::size_t at = head.size(); at < lines.size(); ++at)
      for (const char c : std::string_view("079\"a\n")) {
        std::string changed = lines;
        changed[at] = c;
        expect_same(changed, 1000, 1 << 20);
      }
  // The last one that there can be.
  std::string last;
  for (const char* b : {"2147483645", "2147483646", "2147483647", "2147483648"})
    last += fmt::format("    <era block=\"{}\" era=\"1\"/>\n", b);
  expect_same(in_array(last), 1000, 1 << 20);
}

// Expat counts a carriage return without a newline as the end of a line.
TEST(XmlReader, CountsLinesAsExpatDoesOnBothWays) {
  for (const std::string more : {"\r", "\r\r", "\r\n", "\n\r", "<!--\r-->"})
    for (std::size_t at = head.size(); at < whole.size(); ++at) {
      const std::string xml = whole.substr(0, at) + more + whole.substr(at);
      recorder fast, slow;
      fast.refused = slow.refused = 2;
      EXPECT_EQ(error_of(xml, fast), error_of(xml, slow, 1 << 20, shortcut::not_taken)) << xml;
    }
}

// A line end of two bytes counts as one, although the two do not come together. The last line is
// taken by the shortcut, which counts by itself.
TEST(XmlReader, CountsALineEndThatIsReadInTwo) {
  const std::string before = in_writeset("<!--");
  std::string bits;
  for (int b = 0; b < 20'000; ++b)
    bits += fmt::format("    <bit block=\"{}\" value=\"true\"/>\n", b);
  for (std::size_t at = (1 << 18) - 3; at <= (1 << 18) + 1; ++at) {
    recorder out;
    out.refused = 19'999;
    EXPECT_EQ(error_of(before + std::string(at - before.size(), 'x') + "\r\n-->\n" + bits, out),
              "t.xml:20004: bit: no such thing")
        << at;
  }
}

TEST(XmlReader, SaysHowMuchItHasConsumed) {
  std::uint64_t consumed = 0;
  bool given = false;
  recorder out;
  read(
      [&](char* to, std::size_t) -> std::size_t {
        if (std::exchange(given, true)) return 0;
        std::memcpy(to, whole.data(), whole.size());
        return whole.size();
      },
      "t.xml", out, {.consumed = &consumed});
  EXPECT_EQ(consumed, whole.size());
}

// --- The uuid.

TEST(XmlReader, TakesAUuidOrUpToSixteenBytes) {
  const auto uuid_of = [](const std::string& text) {
    struct keeper final : recorder {
      void begin_superblock(const superblock_element& sb) override { uuid = sb.uuid; }
      uuid_bytes uuid{};
    } out;
    const std::string error = error_of(with(whole, "uuid=\"\"", "uuid=\"" + text + "\""), out);
    return error.empty() ? std::string(out.uuid.begin(), out.uuid.end()) : error;
  };
  const std::string bytes("\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef", 16);
  EXPECT_EQ(uuid_of(""), std::string(16, '\0'));
  EXPECT_EQ(uuid_of("01234567-89ab-cdef-0123-456789ABCDEF"), bytes);
  EXPECT_EQ(uuid_of("0123456789abcdef0123456789abcdef"), bytes);
  EXPECT_EQ(uuid_of("hello"), "hello" + std::string(11, '\0'));
  EXPECT_EQ(uuid_of("0123456789abcdefg"),
            "t.xml:1: superblock: uuid=\"0123456789abcdefg\" is neither a UUID nor up to 16 bytes");
}

// --- What others throw.

TEST(XmlReader, SaysWhereTheDocumentWasRejected) {
  recorder out;
  out.refused = 1;
  EXPECT_EQ(error_of(whole, out), "t.xml:4: bit: no such thing");
  recorder late;
  late.refused = 2;
  EXPECT_EQ(error_of(whole, late), "t.xml:5: marked: no such thing");
}

TEST(XmlReader, LetsOtherErrorsThrough) {
  recorder out;
  out.refused = 0;
  EXPECT_THROW(error_of(in_array("    <era block=\"0\" era=\"1\"/>\n"), out), std::bad_exception);
  recorder unread;
  EXPECT_THROW(
      read([](char*, std::size_t) -> std::size_t { throw std::bad_alloc(); }, "t.xml", unread),
      std::bad_alloc);
}

}  // namespace
}  // namespace era::xml
