// SPDX-License-Identifier: GPL-3.0-or-later
// The language of era_sim: one command a line.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace era::sim {

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
  help
};

struct command {
  static constexpr std::uint64_t none = ~std::uint64_t{0};

  verb what = verb::help;
  std::uint64_t sector = 0, count = 0;             // count: of sectors, of writes, or of steps
  std::uint64_t seed = 0, first = 0, last = none;  // none: the last block there is
  std::string text;
};

// What was expected, in words.
class bad_command : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Nothing: the line is empty, or a comment (#). Throws bad_command.
std::optional<command> parse(std::string_view line);

// A line for each command.
std::string_view help();

// 512 (sectors), or 10K, 4M, 1G, 2T (bytes, a multiple of a sector). Throws bad_command.
std::uint64_t parse_sectors(std::string_view);

}  // namespace era::sim
