// SPDX-License-Identifier: GPL-3.0-or-later
// For the agent: what it asks of the target's status line and of the tools, inside the machine.
#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <sstream>
#include <string>

#include "functional-tests/kernel/agent/device_mapper.h"

namespace era::test {

struct program_result {
  int status = -1;
  std::string output;  // both streams
};

inline program_result run_program(const std::string& command) {
  program_result result;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (!pipe) die("popen");
  std::array<char, 4096> piece;
  while (const std::size_t n = std::fread(piece.data(), 1, piece.size(), pipe))
    result.output.append(piece.data(), n);
  const int status = ::pclose(pipe);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 255;
  return result;
}

// The blocks that era_invalidate lists in the metadata snapshot, one flag for each of nr_blocks.
// Returns false if it fails; output then says why.
inline bool list_changed(std::uint32_t since, std::uint64_t nr_blocks, std::vector<bool>& listed,
                         std::string& output) {
  const auto result =
      run_program("era_tools invalidate --metadata-snapshot --format text --written-since " +
                  std::to_string(since) + ' ' + device_mapper::path("meta"));
  output = result.output;
  listed.assign(nr_blocks, false);
  std::istringstream numbers(output);
  for (std::uint64_t begin = 0, end = 0; result.status == 0 && numbers >> begin >> end;)
    for (std::uint64_t b = begin; b < end && b < nr_blocks; ++b) listed[b] = true;
  return result.status == 0;
}

// The era of the status line; 0 if there is none.
inline std::uint32_t current_era(device_mapper& dm) {
  std::istringstream words(dm.status("era"));
  std::string metadata_block, used;
  std::uint32_t era = 0;
  words >> metadata_block >> used >> era;
  return era;
}

}  // namespace era::test
