// SPDX-License-Identifier: GPL-3.0-or-later
// Options of a command, parsed by getopt_long: long ones may be cut to a unique prefix. Values are
// judged here, in one way for all commands: an empty one is an error, and numbers are decimal.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "persistent-data/format/errors.h"

namespace era {

namespace pd = persistent_data;

// Returns a decimal number: 08 is 8. Throws usage_error, which names the option, if the text is
// anything else, or a number above max.
std::uint64_t parse_decimal(std::string_view text, std::string_view option, std::uint64_t max);

class option_list {
 public:
  struct option;
  using option_id = std::size_t;

  option_list();

  // Each adds an option and returns its number. names: "-o,--output" or "--output"; help: lines
  // that --help prints after it. The variable that the option sets must outlive the parsing.
  option_id add_flag(std::string_view names, bool& to, std::string_view help);
  // argument: what stands for the value in --help. An empty value is an error, so that an empty
  // string means that the option is not given.
  option_id add_text(std::string_view names, std::string& to, std::string_view argument,
                     std::string_view help);

  struct number_limits {
    std::uint64_t min = 0, max = 0, multiple_of = 1;
  };
  template <class Number>
  option_id add_number(std::string_view names, std::optional<Number>& to, number_limits limits,
                       std::string_view argument, std::string_view help) {
    return add(names, argument, help, [&to, limits, this](const option& o, std::string_view text) {
      to = static_cast<Number>(parse_number(o, text, limits));
    });
  }

  // from_text makes the value of the text, or throws std::runtime_error with the message.
  template <class Value, class Parse>
  option_id add_parsed(std::string_view names, Value& to, Parse from_text,
                       std::string_view argument, std::string_view help) {
    return add(names, argument, help, [&to, from_text](const option& o, std::string_view text) {
      try {
        to = from_text(text);
      } catch (const std::runtime_error& e) {
        throw pd::usage_error(fmt::format("{}: {}", o.long_name, e.what()));
      }
    });
  }

  // The value is one of these words.
  template <class Value>
  option_id add_choice(std::string_view names, Value& to,
                       std::vector<std::pair<std::string, Value>> choices, std::string_view help) {
    std::vector<std::string> words;
    for (const auto& choice : choices) words.push_back(choice.first);
    const std::string argument = fmt::format("{}", fmt::join(words, "|"));
    return add(names, argument, help,
               [&to, choices = std::move(choices), words](const option& o, std::string_view text) {
                 for (const auto& [word, value] : choices)
                   if (word == text) return void(to = value);
                 fail_choice(o, text, words);
               });
  }

  void require(option_id);
  void hide(option_id);  // from --help
  // If the flag is given, nothing else needs to be right or complete.
  void let_overrule(option_id);
  // The option is an error without the other one, or together with it.
  void only_with(option_id, option_id other);
  void not_with(option_id, option_id other);
  // A flag that takes a word in older tools: "true" or "false" after it is its value.
  void may_have_word(option_id);

  // Returns what is not an option, in order. Throws usage_error: an unknown or ambiguous option
  // comes before all else, then wrong values, then what is missing or does not go together.
  std::vector<std::string> parse(int argc, char** argv);

  std::string help() const;

  struct option {
    std::string short_name, long_name;  // "-o" or "", "--output"
    std::string argument, help;         // argument: empty for a flag
    std::function<void(const option&, std::string_view)> set;
    bool is_required = false, is_hidden = false, may_have_word = false, overrules = false,
         is_given = false;
    std::vector<option_id> only_with, not_with;
  };

 private:
  option_id add(std::string_view names, std::string_view argument, std::string_view help,
                std::function<void(const option&, std::string_view)> set);
  std::uint64_t parse_number(const option&, std::string_view text, const number_limits&) const;
  [[noreturn]] static void fail_choice(const option&, std::string_view text,
                                       const std::vector<std::string>& words);
  [[noreturn]] void fail_unknown(const std::string& argument) const;

  // As the command line has it, and not judged yet.
  struct given_option {
    option* which;
    std::string text;       // the value, or the word; empty if there is none
    bool has_text = false;  // an empty one, too
  };
  option& option_of(int value);
  std::vector<given_option> collect(int argc, char** argv);
  bool apply(const std::vector<given_option>&);
  void check_together() const;

  std::vector<option> options_;
};

}  // namespace era
