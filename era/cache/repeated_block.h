// SPDX-License-Identifier: GPL-3.0-or-later
// Finds out whether a block number occurs twice in a file, in bounded memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "era/format/units.h"
#include "persistent-data/io/temp_file.h"

namespace era {

class repeated_block {
 public:
  struct repetition {
    std::uint64_t block, first_line, line;
  };

  // Spills to a temp_file above this many bytes.
  static constexpr std::size_t default_memory = 64 << 20;
  explicit repeated_block(std::size_t memory = default_memory);

  // The line of the file has this block; lines must not descend. Takes 16 bytes. Throws
  // pd::device_error.
  void add(std::uint64_t block, std::uint64_t line);

  // Requires that all blocks are added; may be called once. Returns the repetition whose line is
  // the first in the file, or nullopt if no block occurs twice. Sorts: n log n for n blocks, and
  // reads the temp_file once. Throws pd::device_error.
  std::optional<repetition> find();

 private:
  struct entry {
    std::uint64_t block, line;
    friend auto operator<=>(const entry&, const entry&) = default;
  };
  class run_reader;
  class neighbour_check;

  void spill();
  // Hands over the entries of all runs, in order.
  void merge(const std::function<void(const entry&)>& take) const;

  std::size_t most_entries_;
  std::vector<entry> entries_;           // not sorted
  std::vector<pd::range> runs_;          // in the file: bytes of sorted entries
  std::unique_ptr<pd::temp_file> file_;  // null if nothing was spilled
};

}  // namespace era
