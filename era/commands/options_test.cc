// SPDX-License-Identifier: GPL-3.0-or-later
// Which command lines are accepted, and how the message names a wrong option.
#include "era/commands/options.h"

#include <gtest/gtest.h>

namespace era {
namespace {

class Options : public ::testing::Test {
 protected:
  Options() {
    options.may_have_word(options.add_flag("--metadata-snapshot", snapshot, "S"));
    repair = options.add_flag("-r,--repair", repairs, "R");
    options.add_text("-o,--output", output, "FILE", "O\nmore of it");
    since = options.add_number("--written-since", from, {0, 0xffffffff}, "ERA", "W");
    options.add_number("--written-before", before, {0, 0xffffffff}, "ERA", "B");
    options.add_number("--block-size", block_size, {8, 0xffffffff, 8}, "SECTORS", "B");
    options.add_choice<int>("--format", format, {{"xml", 1}, {"text", 2}}, "F");
    options.add_parsed(
        "--color", color,
        [](std::string_view text) {
          if (text != "red") throw std::runtime_error(fmt::format("'{}' is no color", text));
          return 1;
        },
        "COLOR", "C");
    options.hide(options.add_flag("--secret", secret, "S"));
  }

  // The message, or "" if the arguments are accepted; what is not an option is in rest.
  std::string parse(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "era_test");
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    try {
      rest = options.parse(static_cast<int>(arguments.size()), argv.data());
      return "";
    } catch (const pd::usage_error& e) {
      return e.what();
    }
  }

  option_list options;
  option_list::option_id repair, since;
  bool snapshot = false, repairs = false, secret = false;
  std::string output;
  std::optional<std::uint32_t> from, before, block_size;
  int format = 0, color = 0;
  std::vector<std::string> rest;
};

// --se is no other option's prefix that --help names.
TEST_F(Options, ArePrefixesThatAHiddenOneDoesNotSpoil) {
  std::optional<std::uint32_t> sectors;
  options.add_number("--sectors", sectors, {0, 100}, "N", "S");
  EXPECT_EQ(parse({"--se=7"}), "");
  EXPECT_EQ(sectors, 7u);
  EXPECT_FALSE(secret);
  EXPECT_EQ(parse({"--secret", "--sectors", "8"}), "");
  EXPECT_TRUE(secret);
  EXPECT_EQ(sectors, 8u);
}

TEST_F(Options, AreFoundAnywhere) {
  EXPECT_EQ(parse({"--repair", "a", "-oout", "--written-since=3", "b", "--format", "text"}), "");
  EXPECT_TRUE(repairs);
  EXPECT_EQ(output, "out");
  EXPECT_EQ(from, 3u);
  EXPECT_EQ(format, 2);
  EXPECT_EQ(rest, (std::vector<std::string>{"a", "b"}));
}

TEST_F(Options, ThatAreParsedAreNamedInTheirErrors) {
  EXPECT_EQ(parse({"--color", "red"}), "");
  EXPECT_EQ(color, 1);
  EXPECT_EQ(parse({"--color", "blue"}), "--color: 'blue' is no color");
  EXPECT_EQ(color, 1);
}

TEST_F(Options, EndAtTwoDashes) {
  EXPECT_EQ(parse({"--", "--repair"}), "");
  EXPECT_FALSE(repairs);
  EXPECT_EQ(rest, std::vector<std::string>{"--repair"});
}

TEST_F(Options, MayBeShortenedToAUniquePrefix) {
  EXPECT_EQ(parse({"--metadata-snap", "--written-s", "4", "--form=xml"}), "");
  EXPECT_TRUE(snapshot);
  EXPECT_EQ(from, 4u);
  EXPECT_EQ(format, 1);
  EXPECT_EQ(parse({"--written", "4"}),
            "'--written' may be any of --written-since, --written-before");
}

TEST_F(Options, ThatAreUnknownAreNamedFirst) {
  options.require(since);
  EXPECT_EQ(parse({"--writen-since", "3"}), "there is no option '--writen-since'");
  EXPECT_EQ(parse({"x", "--bogus=1", "--written-before", "08x"}), "there is no option '--bogus'");
  EXPECT_EQ(parse({"-x"}), "there is no option '-x'");
  EXPECT_EQ(parse({"-rx"}), "there is no option '-x'");
  EXPECT_EQ(parse({"--repair=yes"}), "--repair takes no value");
  EXPECT_EQ(parse({}), "--written-since is required: ERA");
}

TEST_F(Options, ThatTakeAValueNeedOne) {
  EXPECT_EQ(parse({"--output"}), "--output needs a value: FILE");
  EXPECT_EQ(parse({"-o"}), "--output needs a value: FILE");
}

// An unset variable of a script.
TEST_F(Options, TakeNoEmptyValue) {
  EXPECT_EQ(parse({"--written-since", ""}), "--written-since: its value is empty; expected: ERA");
  EXPECT_EQ(parse({"--written-before="}), "--written-before: its value is empty; expected: ERA");
  EXPECT_EQ(parse({"-o", ""}), "--output: its value is empty; expected: FILE");
  EXPECT_EQ(parse({"--format", ""}), "--format: its value is empty; expected: xml|text");
  EXPECT_EQ(from, std::nullopt);
}

TEST_F(Options, CountInDecimal) {
  EXPECT_EQ(parse({"--written-since", "010", "--written-before", "08"}), "");
  EXPECT_EQ(from, 10u);
  EXPECT_EQ(before, 8u);
}

TEST_F(Options, TakeNothingElseForANumber) {
  for (const char* text : {"0x8", "8k", "-1", "+1", " 1", "1 ", "1e3", "x", "1.5"})
    EXPECT_EQ(parse({"--written-since", text}),
              fmt::format("--written-since: '{}' is not a decimal number", text));
  EXPECT_EQ(parse({"--written-since", "4294967296"}),
            "--written-since: 4294967296 is too large; it can be 4294967295 at most");
  EXPECT_EQ(parse({"--written-since", "99999999999999999999999"}),
            "--written-since: 99999999999999999999999 is too large; it can be 4294967295 at most");
}

TEST_F(Options, HaveLimits) {
  EXPECT_EQ(parse({"--block-size", "12"}), "--block-size: 12 is not a multiple of 8 above 0");
  EXPECT_EQ(parse({"--block-size", "0"}), "--block-size: 0 is not a multiple of 8 above 0");
  EXPECT_EQ(parse({"--format", "yaml"}), "--format: 'yaml' is none of xml, text");
}

TEST_F(Options, AreGivenOnce) {
  EXPECT_EQ(parse({"--written-since", "1", "--written-since", "2"}),
            "--written-since is given twice");
  EXPECT_EQ(parse({"--repair", "--repair"}), "");
}

TEST_F(Options, MayNeedOrExcludeEachOther) {
  options.only_with(since, repair);
  EXPECT_EQ(parse({"--written-since", "1"}), "--written-since has no effect without --repair");
}

TEST_F(Options, MayExcludeEachOther) {
  options.not_with(since, repair);
  EXPECT_EQ(parse({"--written-since", "1", "-r"}),
            "--written-since and --repair exclude each other");
}

// thin-provisioning-tools 1.1 requires a word after the flag.
TEST_F(Options, AFlagMayHaveAWord) {
  EXPECT_EQ(parse({"--metadata-snapshot", "true", "dev"}), "");
  EXPECT_TRUE(snapshot);
  EXPECT_EQ(rest, std::vector<std::string>{"dev"});
  EXPECT_EQ(parse({"--metadata-snapshot", "false", "dev"}), "");
  EXPECT_FALSE(snapshot);
  EXPECT_EQ(parse({"--metadata-snapshot=true"}), "");
  EXPECT_TRUE(snapshot);
  EXPECT_EQ(parse({"--metadata-snapshot=maybe"}),
            "--metadata-snapshot: 'maybe' is none of true, false");
  // A variable without a value must not choose.
  EXPECT_EQ(parse({"--metadata-snapshot="}),
            "--metadata-snapshot: its value is empty; expected: true or false");
  EXPECT_EQ(parse({"--metadata-snapshot=false", "--metadata-snapshot"}),
            "--metadata-snapshot is given twice");
  EXPECT_EQ(parse({"--metadata-snapshot", "dev"}), "");
  EXPECT_EQ(rest, std::vector<std::string>{"dev"});
}

TEST_F(Options, HelpOverrulesWhatIsMissing) {
  options.require(since);
  bool help = false;
  options.let_overrule(options.add_flag("-h,--help", help, "H"));
  EXPECT_EQ(parse({"--format", "yaml", "-h"}), "");
  EXPECT_TRUE(help);
}

TEST_F(Options, HelpHasALineForEachButHiddenOnes) {
  EXPECT_EQ(options.help(),
            "  --metadata-snapshot           S\n"
            "  -r,--repair                   R\n"
            "  -o,--output FILE              O\n"
            "                                more of it\n"
            "  --written-since ERA           W\n"
            "  --written-before ERA          B\n"
            "  --block-size SECTORS          B\n"
            "  --format xml|text             F\n"
            "  --color COLOR                 C\n");
}

}  // namespace
}  // namespace era
