// SPDX-License-Identifier: GPL-3.0-or-later
// See script.h.
#include "era/sim/script.h"

#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "era/sim/words.h"

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
     "write a page into so many random blocks"},
    {"sequential-writes", verb::sequential_writes, 1, 2, "sequential-writes COUNT [FIRST]",
     "write a page into so many blocks in a row"},
    {"discard", verb::discard, 2, 2, "discard SECTOR COUNT", "discard sectors"},
    {"flush", verb::flush, 0, 0, "flush", "flush the origin"},
    {"message", verb::message, 1, 1, "message checkpoint|take_metadata_snap|drop_metadata_snap",
     "send a message, as dmsetup does"},
    {"status", verb::status, 0, 0, "status", "print the status line"},
    {"table", verb::table, 0, 0, "table", "print the table line"},
    {"suspend", verb::suspend, 0, 0, "suspend", "suspend the device"},
    {"resume", verb::resume, 0, 0, "resume", "resume it"},
    {"reload", verb::reload, 1, 1, "reload SECTORS", "give it another length at the next resume"},
    {"digest", verb::digest, 1, 1, "digest STEPS|all", "digest archived writesets"},
    {"crash", verb::crash, 0, 0, "crash", "stop as if the power was cut"},
    {"help", verb::help, 0, 0, "help", "print this"},
};

std::uint64_t number(std::string_view text, std::string_view what) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw bad_command(fmt::format("'{}' is no number; {} is expected", text, what));
  return value;
}

const form& form_of(std::string_view name) {
  for (const form& f : forms)
    if (f.name == name) return f;
  throw bad_command(fmt::format("there is no command '{}'; see help", name));
}

}  // namespace

std::uint64_t parse_sectors(std::string_view text) {
  constexpr std::string_view units = "KMGT";
  const auto unit = text.empty() ? units.npos : units.find(text.back());
  if (unit == units.npos) return number(text, "a number of sectors, or a size such as 4M");
  const std::uint64_t size = number(text.substr(0, text.size() - 1), "a size such as 4M");
  const auto shift = static_cast<unsigned>(10 * (unit + 1));
  if (size > std::numeric_limits<std::uint64_t>::max() >> shift)
    throw bad_command(fmt::format("'{}' is too large", text));
  return (size << shift) / 512;
}

std::optional<command> parse(std::string_view line) {
  // What follows a # is a comment.
  const auto words = words_of(line.substr(0, line.find('#')));
  if (words.empty()) return {};
  const form& f = form_of(words[0]);
  const std::size_t given = words.size() - 1;
  // A range has two ends.
  const bool half = f.what == verb::random_writes && given == 3;
  if (given < f.least || given > f.most || half)
    throw bad_command(fmt::format("expected: {}", f.usage));

  command c;
  c.what = f.what;
  switch (f.what) {
    case verb::write:
    case verb::discard:
      c.sector = number(words[1], "a sector");
      c.count = number(words[2], "a number of sectors");
      break;
    case verb::random_writes:
      c.count = number(words[1], "a number of writes");
      c.seed = number(words[2], "a seed");
      if (c.seed == 0) throw bad_command("a seed is not 0");
      if (given == 2) break;
      c.first = number(words[3], "the first block");
      c.last = number(words[4], "the last block");
      if (c.first > c.last)
        throw bad_command(fmt::format("the first block {} is behind the last {}", c.first, c.last));
      break;
    case verb::sequential_writes:
      c.count = number(words[1], "a number of writes");
      if (given == 2) c.first = number(words[2], "the first block");
      break;
    case verb::reload: c.count = parse_sectors(words[1]); break;
    case verb::digest:
      c.count = words[1] == "all" ? command::none : number(words[1], "a number of steps, or all,");
      break;
    case verb::message: c.text = words[1]; break;
    default: break;
  }
  return c;
}

std::string_view help() {
  static const std::string text = [] {
    std::string all;
    for (const form& f : forms) all += fmt::format("  {:<64}{}\n", f.usage, f.purpose);
    return all;
  }();
  return text;
}

}  // namespace era::sim
