// SPDX-License-Identifier: GPL-3.0-or-later
// One table has each command's name, number of arguments and help text. A line is split into words,
// its command is looked up in the table, and its arguments are parsed by the command's verb.
#include "era/sim/script.h"

#include <limits>

#include "era/sim/words.h"
#include "persistent-data/format/block.h"

namespace era::sim {
namespace {

struct form {
  std::string_view name;
  verb what;
  std::size_t least, most;  // arguments
  std::string_view usage, purpose;
};

constexpr form forms[] = {
    {"write", verb::write, 2, 2, "write SECTOR COUNT", "write sectors"},
    {"random-writes", verb::random_writes, 2, 4, "random-writes COUNT SEED [FIRST LAST]",
     "write 4 KiB into each of COUNT random blocks"},
    {"sequential-writes", verb::sequential_writes, 1, 2, "sequential-writes COUNT [FIRST]",
     "write 4 KiB into each of COUNT consecutive blocks"},
    {"discard", verb::discard, 2, 2, "discard SECTOR COUNT", "discard sectors"},
    {"flush", verb::flush, 0, 0, "flush", "flush the origin"},
    {"message", verb::message, 1, 1, "message checkpoint|take_metadata_snap|drop_metadata_snap",
     "send a message, as dmsetup does"},
    {"status", verb::status, 0, 0, "status", "print the status line"},
    {"table", verb::table, 0, 0, "table", "print the table line"},
    {"suspend", verb::suspend, 0, 0, "suspend", "suspend the device"},
    {"resume", verb::resume, 0, 0, "resume", "resume it"},
    {"reload", verb::reload, 1, 1, "reload SIZE", "give it another length at the next resume"},
    {"digest", verb::digest, 1, 1, "digest STEPS|all", "digest archived writesets"},
    {"crash", verb::crash, 0, 0, "crash", "stop as if the power was cut"},
    {"quit", verb::quit, 0, 0, "quit", "suspend the device and end"},
    {"exit", verb::quit, 0, 0, "exit", "the same"},
    {"help", verb::help, 0, 0, "help", "print this"},
};

std::uint64_t count(std::string_view text, std::string_view expected) {
  const std::uint64_t value = number_in(text, expected);
  if (value == 0) throw pd::invalid_input("a count is above 0");
  return value;
}

const form& form_of(std::string_view name) {
  for (const form& f : forms)
    if (f.name == name) return f;
  throw pd::invalid_input(fmt::format("there is no command '{}'; see help", printable(name)));
}

command parse_arguments(const form& f, const std::vector<std::string_view>& words) {
  const std::size_t given = words.size() - 1;
  command c;
  c.what = f.what;
  switch (f.what) {
    case verb::write:
    case verb::discard:
      c.sector = number_in(words[1], "a sector");
      c.count = count(words[2], "a number of sectors");
      break;
    case verb::random_writes:
      c.count = count(words[1], "a number of writes");
      c.seed = number_in(words[2], "a seed");
      if (c.seed == 0) throw pd::invalid_input("a seed is not 0");
      if (given == 2) break;
      c.first = number_in(words[3], "the first block");
      c.last = number_in(words[4], "the last block");
      if (c.first > c.last)
        throw pd::invalid_input(
            fmt::format("the first block {} is after the last {}", c.first, c.last));
      break;
    case verb::sequential_writes:
      c.count = count(words[1], "a number of writes");
      if (given == 2) c.first = number_in(words[2], "the first block");
      break;
    case verb::reload: c.count = parse_sectors(words[1]); break;
    case verb::digest:
      c.count = words[1] == "all" ? command::none : count(words[1], "a number of steps, or all,");
      break;
    case verb::message: c.text = words[1]; break;
    default: break;
  }
  return c;
}

}  // namespace

std::uint64_t parse_sectors(std::string_view text) {
  constexpr std::string_view units = "KMGT", digits = "0123456789";
  const auto unit = text.empty() ? units.npos : units.find(text.back());
  const std::string_view number_text = text.substr(0, text.size() - (unit != units.npos));
  if (number_text.empty() || number_text.find_first_not_of(digits) != number_text.npos)
    throw pd::invalid_input(fmt::format(
        "'{}' is no number of sectors and no size; a size is a whole number and K, M, G or T, "
        "such as 4M",
        printable(text)));
  const std::uint64_t value = number_in(number_text, "a smaller size");
  if (value == 0) throw pd::invalid_input("a size is above 0");
  if (unit == units.npos) return value;
  const auto shift = static_cast<unsigned>(10 * (unit + 1));
  if (value > std::numeric_limits<std::uint64_t>::max() >> shift)
    throw pd::invalid_input(
        fmt::format("'{}' is too large; a smaller size is expected", printable(text)));
  return (value << shift) / pd::sector_size;
}

bool take_refusal_mark(std::string_view& line) {
  const auto begin = line.find_first_not_of(" \t\r");
  if (begin == line.npos || line[begin] != '!') return false;
  line.remove_prefix(begin + 1);
  if (words_of(line.substr(0, line.find('#'))).empty())
    throw pd::invalid_input("no command comes after '!', which says that it has to be refused");
  return true;
}

std::string printable_command(std::string_view line) {
  std::string text;
  for (const std::string_view word : words_of(line.substr(0, line.find('#')))) {
    if (!text.empty()) text += ' ';
    text += printable(word);
  }
  return text;
}

std::optional<command> parse(std::string_view line) {
  const auto words = words_of(line.substr(0, line.find('#')));
  if (words.empty()) return {};
  const form& f = form_of(words[0]);
  const std::size_t given = words.size() - 1;
  // A range has two ends.
  const bool half = f.what == verb::random_writes && given == 3;
  if (given < f.least || given > f.most || half)
    throw pd::invalid_input(fmt::format("expected: {}", f.usage));
  return parse_arguments(f, words);
}

std::string_view help() {
  static const std::string text = [] {
    std::string all;
    for (const form& f : forms) all += fmt::format("  {:<64}{}\n", f.usage, f.purpose);
    return all + fmt::format("  {:<64}{}\n", "! COMMAND", "expect that a command is refused");
  }();
  return text;
}

}  // namespace era::sim
