// SPDX-License-Identifier: GPL-3.0-or-later
// The language of era_sim: one command a line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "persistent-data/format/errors.h"

namespace era::sim {

namespace pd = persistent_data;

enum class verb {
  write,              // sector, count
  random_writes,      // count, seed, first and last block
  sequential_writes,  // count, first block
  discard,            // sector, count
  flush,
  message,  // text
  status,
  table,
  suspend,
  resume,
  reload,  // sectors
  digest,  // steps
  crash,
  quit,  // also spelt exit
  help
};

struct command {
  static constexpr std::uint64_t none = ~std::uint64_t{0};

  verb what = verb::help;
  // Sectors, writes, or steps (none: all of them); above 0 if the command has a count.
  std::uint64_t count = 0;
  std::uint64_t sector = 0;
  std::uint64_t seed = 0, first = 0, last = none;  // none: the last block of the device
  std::string text;
};

// Returns nullopt if the line is empty or a comment (#). Throws invalid_input.
std::optional<command> parse(std::string_view line);

// Takes "!" from the front of a line, which says that its command has to be refused. Returns
// whether it was there. Throws invalid_input if no command comes after it.
bool take_refusal_mark(std::string_view& line);

// The command without its comment and the blanks around it, for messages.
std::string printable_command(std::string_view line);

// A line for each command.
std::string_view help();

// 512 (sectors), or 10K, 4M, 1G, 2T (units of 1024 bytes); not 0. Throws invalid_input.
std::uint64_t parse_sectors(std::string_view);

}  // namespace era::sim
