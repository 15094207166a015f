// SPDX-License-Identifier: GPL-3.0-or-later
// Lines that are commands, and lines that are not.
#include "era/sim/script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace era::sim {
namespace {

using ::testing::HasSubstr;

command parsed(const std::string& line) {
  const auto c = parse(line);
  EXPECT_TRUE(c) << line;
  return c.value_or(command{});
}

std::string error_of(const std::string& line) {
  try {
    parse(line);
    return "";
  } catch (const pd::invalid_input& e) {
    return e.what();
  }
}

std::string error_of_size(const std::string& text) {
  try {
    parse_sectors(text);
    return "";
  } catch (const pd::invalid_input& e) {
    return e.what();
  }
}

TEST(Script, EmptyLinesAndComments) {
  for (const char* line : {"", " \t", "\r", "# write 0 8", "  #"})
    EXPECT_FALSE(parse(line)) << line;
}

TEST(Script, Commands) {
  const command w = parsed(" write\t640 64 # a comment\r");
  EXPECT_EQ(w.what, verb::write);
  EXPECT_EQ(w.sector, 640u);
  EXPECT_EQ(w.count, 64u);
  const command r = parsed("random-writes 10 7 100 200");
  EXPECT_EQ(r.what, verb::random_writes);
  EXPECT_EQ(r.count, 10u);
  EXPECT_EQ(r.seed, 7u);
  EXPECT_EQ(r.first, 100u);
  EXPECT_EQ(r.last, 200u);
  EXPECT_EQ(parsed("random-writes 10 7").last, command::none);
  const command s = parsed("sequential-writes 3 50");
  EXPECT_EQ(s.what, verb::sequential_writes);
  EXPECT_EQ(s.first, 50u);
  EXPECT_EQ(parsed("discard 1 2").what, verb::discard);
  EXPECT_EQ(parsed("message Checkpoint").text, "Checkpoint");
  EXPECT_EQ(parsed("reload 200M").count, 409600u);
  EXPECT_EQ(parsed("digest 7").count, 7u);
  EXPECT_EQ(parsed("digest all").count, command::none);
  EXPECT_EQ(parsed("quit").what, verb::quit);
  EXPECT_EQ(parsed("exit").what, verb::quit);
}

TEST(Script, HelpNamesEveryCommand) {
  for (const char* name :
       {"write", "random-writes", "sequential-writes", "discard", "flush", "message", "status",
        "table", "suspend", "resume", "reload", "digest", "crash", "quit", "exit", "help"})
    EXPECT_NE(("\n" + std::string(help())).find("\n  " + std::string(name)), std::string::npos)
        << name;
}

TEST(Script, NumbersAreDecimal) {
  EXPECT_EQ(parsed("write 010 08").sector, 10u);
  EXPECT_EQ(parsed("write 010 08").count, 8u);
  EXPECT_EQ(parsed("write 18446744073709551615 1").sector, ~std::uint64_t{0});
  EXPECT_EQ(error_of("write 18446744073709551616 1"),
            "'18446744073709551616' is too large; a sector is expected");
  for (const char* text : {"0x8", "+8", "-8", "8.0", "8k", "1e3"})
    EXPECT_EQ(error_of("write " + std::string(text) + " 1"),
              "'" + std::string(text) + "' is no number; a sector is expected");
}

TEST(Script, ACountIsAboveZero) {
  for (const char* line : {"write 5 0", "discard 5 0", "random-writes 0 1", "sequential-writes 0",
                           "digest 0", "digest 00"})
    EXPECT_EQ(error_of(line), "a count is above 0") << line;
  EXPECT_EQ(error_of("reload 0"), "a size is above 0");
  EXPECT_EQ(error_of("random-writes 1 0"), "a seed is not 0");
}

TEST(Script, WrongNumbersOfArguments) {
  EXPECT_EQ(error_of("write 1"), "expected: write SECTOR COUNT");
  EXPECT_EQ(error_of("write 1 2 3"), "expected: write SECTOR COUNT");
  EXPECT_EQ(error_of("random-writes 1 1 5"), "expected: random-writes COUNT SEED [FIRST LAST]");
  EXPECT_EQ(error_of("random-writes 1 1 9 5"), "the first block 9 is after the last 5");
  EXPECT_EQ(error_of("quit now"), "expected: quit");
  EXPECT_EQ(error_of("exit now"), "expected: exit");
}

TEST(Script, MessagesAreShortAndPrintable) {
  const std::string wild = "a\x1b[31m\x9b-";
  EXPECT_EQ(error_of(wild), "there is no command 'a?[31m?-'; see help");
  EXPECT_THAT(error_of("write " + wild + " 1"), HasSubstr("'a?[31m?-' is no number"));
  EXPECT_THAT(error_of("reload " + wild), HasSubstr("'a?[31m?-' is no number of sectors"));
  EXPECT_LT(error_of(std::string(10000, 'x')).size(), 150u);
  EXPECT_LT(error_of("write " + std::string(10000, '9') + " 1").size(), 150u);
  EXPECT_LT(error_of_size(std::string(10000, '9') + "M").size(), 150u);
}

TEST(Script, Sizes) {
  EXPECT_EQ(parse_sectors("512"), 512u);
  EXPECT_EQ(parse_sectors("08"), 8u);
  EXPECT_EQ(parse_sectors("1K"), 2u);
  EXPECT_EQ(parse_sectors("4M"), 8192u);
  EXPECT_EQ(parse_sectors("1G"), 2097152u);
  EXPECT_EQ(parse_sectors("16777215T"), 16777215u * (std::uint64_t{1} << 31));
}

TEST(Script, SizesThatAreNone) {
  for (const char* text :
       {"", "M", "4.5M", "10k", "+5", "-5", " 5", "5 ", "5X", "0x10", "5MM", "4M4"})
    EXPECT_EQ(error_of_size(text),
              "'" + std::string(text) +
                  "' is no number of sectors and no size; a size is a whole number and K, M, G or "
                  "T, such as 4M");
  EXPECT_EQ(error_of_size("0"), "a size is above 0");
  EXPECT_EQ(error_of_size("0M"), "a size is above 0");
  for (const char* text : {"16777216T", "99999999T", "18014398509481984K", "18446744073709551616"})
    EXPECT_EQ(error_of_size(text),
              "'" + std::string(text) + "' is too large; a smaller size is expected");
}

TEST(Script, ALineMayHaveToBeRefused) {
  for (const std::string_view marked : {"!write 0 8", " ! write 0 8", "\t!\twrite 0 8"}) {
    std::string_view line = marked;
    EXPECT_TRUE(take_refusal_mark(line)) << marked;
    EXPECT_EQ(parse(line)->what, verb::write) << marked;
  }
  for (const std::string_view plain : {"write 0 8", "", "  ", "# !write"}) {
    std::string_view line = plain;
    EXPECT_FALSE(take_refusal_mark(line)) << plain;
    EXPECT_EQ(line, plain);
  }
  for (std::string_view lone : {"!", " !  ", "!# write 0 8"})
    EXPECT_THROW(take_refusal_mark(lone), pd::invalid_input);
  EXPECT_EQ(printable_command("  write \t0 8 # text"), "write 0 8");
  EXPECT_EQ(printable_command("# text"), "");
}

}  // namespace
}  // namespace era::sim
