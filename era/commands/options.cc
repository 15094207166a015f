// SPDX-License-Identifier: GPL-3.0-or-later
// getopt_long finds the options; all values are collected before the first is judged, so that a
// misspelt option is named before anything that is wrong because of it.
#include "era/commands/options.h"

#include <getopt.h>

#include <algorithm>
#include <span>

#include "era/text/words.h"

namespace era {
namespace {

// getopt_long's values for long options lie above those of characters.
constexpr int first_long = 256;

// The options as getopt_long takes them. The names are borrowed.
struct getopt_tables {
  std::string letters;
  std::vector<::option> long_options;
};

// Is the option written in full, with or without a value?
bool is_spelt_out(std::string_view name, std::span<char* const> arguments) {
  return std::any_of(arguments.begin(), arguments.end(), [name](std::string_view argument) {
    return argument.substr(0, argument.find('=')) == name;
  });
}

// A hidden option must not make prefixes of the others ambiguous.
getopt_tables tables_of(const std::vector<option_list::option>& options,
                        std::span<char* const> arguments) {
  getopt_tables tables{":", {}};  // ":": a missing value is told from an unknown option
  for (std::size_t i = 0; i < options.size(); ++i) {
    const option_list::option& o = options[i];
    if (o.is_hidden && !is_spelt_out(o.long_name, arguments)) continue;
    const int has_value = !o.argument.empty() ? required_argument
                          : o.may_have_word   ? optional_argument
                                              : no_argument;
    tables.long_options.push_back(
        {o.long_name.c_str() + 2, has_value, nullptr, first_long + static_cast<int>(i)});
    if (o.short_name.empty()) continue;
    tables.letters += o.short_name[1];
    if (!o.argument.empty()) tables.letters += ':';
  }
  tables.long_options.push_back({});
  return tables;
}

// The word of a flag that may have one.
bool is_word(std::string_view text) { return text == "true" || text == "false"; }

}  // namespace

std::uint64_t parse_decimal(std::string_view text, std::string_view option, std::uint64_t max) {
  const leading_number number = parse_leading_number(text);
  if (number.status == number_status::too_large || (number.is_all() && number.value > max))
    throw pd::usage_error(
        fmt::format("{}: {} is too large; it can be {} at most", option, text, max));
  if (!number.is_all())
    throw pd::usage_error(fmt::format("{}: '{}' is not a decimal number", option, text));
  return number.value;
}

option_list::option_list() { options_.reserve(16); }

option_list::option_id option_list::add(std::string_view names, std::string_view argument,
                                        std::string_view help,
                                        std::function<void(const option&, std::string_view)> set) {
  option o;
  if (const auto comma = names.find(','); comma != names.npos) {
    o.short_name = names.substr(0, comma);
    names.remove_prefix(comma + 1);
  }
  o.long_name = names;
  o.argument = argument;
  o.help = help;
  o.set = std::move(set);
  options_.push_back(std::move(o));
  return options_.size() - 1;
}

option_list::option_id option_list::add_flag(std::string_view names, bool& to,
                                             std::string_view help) {
  return add(names, "", help,
             [&to](const option&, std::string_view word) { to = word != "false"; });
}

option_list::option_id option_list::add_text(std::string_view names, std::string& to,
                                             std::string_view argument, std::string_view help) {
  return add(names, argument, help, [&to](const option&, std::string_view text) { to = text; });
}

std::uint64_t option_list::parse_number(const option& o, std::string_view text,
                                        const number_limits& limits) const {
  const std::uint64_t value = parse_decimal(text, o.long_name, limits.max);
  if (value % limits.multiple_of != 0 || value < limits.min)
    throw pd::usage_error(
        limits.multiple_of == 1
            ? fmt::format("{}: {} is too small; it is at least {}", o.long_name, value, limits.min)
            : fmt::format("{}: {} is not a multiple of {} above 0", o.long_name, value,
                          limits.multiple_of));
  return value;
}

void option_list::fail_choice(const option& o, std::string_view text,
                              const std::vector<std::string>& words) {
  throw pd::usage_error(
      fmt::format("{}: '{}' is none of {}", o.long_name, text, fmt::join(words, ", ")));
}

void option_list::require(option_id id) { options_[id].is_required = true; }
void option_list::hide(option_id id) { options_[id].is_hidden = true; }
void option_list::let_overrule(option_id id) { options_[id].overrules = true; }
void option_list::only_with(option_id id, option_id other) {
  options_[id].only_with.push_back(other);
}
void option_list::not_with(option_id id, option_id other) {
  options_[id].not_with.push_back(other);
}
void option_list::may_have_word(option_id id) { options_[id].may_have_word = true; }

// A prefix that is not unique is as unknown as a word that is none.
void option_list::fail_unknown(const std::string& argument) const {
  const std::string_view name = std::string_view(argument).substr(0, argument.find('='));
  std::vector<std::string> meant;
  for (const option& o : options_)
    if (!o.is_hidden && o.long_name.starts_with(name)) meant.push_back(o.long_name);
  if (meant.size() > 1 && name.size() > 2)
    throw pd::usage_error(fmt::format("'{}' may be any of {}", name, fmt::join(meant, ", ")));
  throw pd::usage_error(fmt::format("there is no option '{}'", name));
}

std::vector<std::string> option_list::parse(int argc, char** argv) {
  if (!apply(collect(argc, argv))) return {};
  check_together();
  return {argv + ::optind, argv + argc};
}

// value: as getopt_long returns it.
option_list::option& option_list::option_of(int value) {
  for (option& o : options_)
    if (!o.short_name.empty() && o.short_name[1] == value) return o;
  return options_[static_cast<std::size_t>(value - first_long)];
}

// Leaves optind at the first argument that is no option.
std::vector<option_list::given_option> option_list::collect(int argc, char** argv) {
  const getopt_tables known = tables_of(options_, {argv, static_cast<std::size_t>(argc)});
  std::vector<given_option> given;
  ::opterr = 0;
  ::optind = 0;  // begin anew, even if another command line was parsed before
  for (;;) {
    const int argument = std::max(::optind, 1);
    const int value =
        ::getopt_long(argc, argv, known.letters.c_str(), known.long_options.data(), nullptr);
    if (value == -1) return given;
    if (value == '?' && ::optopt != 0 && ::optopt < first_long)
      throw pd::usage_error(fmt::format("there is no option '-{}'", static_cast<char>(::optopt)));
    if (value == '?' && ::optopt >= first_long)
      throw pd::usage_error(fmt::format("{} takes no value", option_of(::optopt).long_name));
    if (value == '?') fail_unknown(argv[std::max(::optind - 1, argument)]);
    if (value == ':') {
      const option& o = option_of(::optopt);
      throw pd::usage_error(fmt::format("{} needs a value: {}", o.long_name, o.argument));
    }
    option& o = option_of(value);
    if (o.may_have_word && !::optarg && ::optind < argc && is_word(argv[::optind]))
      ::optarg = argv[::optind++];
    given.push_back({&o, ::optarg ? ::optarg : "", ::optarg != nullptr});
  }
}

// Returns false if one overrules the others: then it alone is set.
bool option_list::apply(const std::vector<given_option>& given) {
  for (option& o : options_) o.is_given = false;
  for (const given_option& g : given)
    if (g.which->overrules) {
      g.which->set(*g.which, "");
      return false;
    }
  for (const auto& [o, text, has_text] : given) {
    // A flag that is given twice says nothing new; a word or a value may.
    if (o->is_given && (o->may_have_word || !o->argument.empty()))
      throw pd::usage_error(fmt::format("{} is given twice", o->long_name));
    if (text.empty() && (has_text || !o->argument.empty()))
      throw pd::usage_error(fmt::format("{}: its value is empty; expected: {}", o->long_name,
                                        o->may_have_word ? "true or false" : o->argument));
    if (o->may_have_word && has_text && !is_word(text))
      throw pd::usage_error(fmt::format("{}: '{}' is none of true, false", o->long_name, text));
    o->is_given = true;
    o->set(*o, text);
  }
  return true;
}

void option_list::check_together() const {
  for (const option& o : options_)
    if (o.is_required && !o.is_given)
      throw pd::usage_error(fmt::format("{} is required: {}", o.long_name, o.argument));
  for (const option& o : options_) {
    if (!o.is_given) continue;
    for (const option_id other : o.only_with)
      if (!options_[other].is_given)
        throw pd::usage_error(
            fmt::format("{} has no effect without {}", o.long_name, options_[other].long_name));
    for (const option_id other : o.not_with)
      if (options_[other].is_given)
        throw pd::usage_error(
            fmt::format("{} and {} exclude each other", o.long_name, options_[other].long_name));
  }
}

std::string option_list::help() const {
  constexpr std::size_t column = 32;
  std::string text;
  for (const option& o : options_) {
    if (o.is_hidden) continue;
    std::string line = "  " + (o.short_name.empty() ? "" : o.short_name + ',') + o.long_name;
    if (!o.argument.empty()) line += ' ' + o.argument;
    line.resize(line.size() + 1 < column ? column : line.size() + 1, ' ');
    for (const char c : o.help)
      line += c == '\n' ? '\n' + std::string(column, ' ') : std::string{c};
    text += line + '\n';
  }
  return text;
}

}  // namespace era
