// SPDX-License-Identifier: GPL-3.0-or-later
// Reads what the arrays of opened metadata hold, block by block, and turns what is wrong with them
// into findings.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "era/damage/finding.h"
#include "era/metadata/metadata.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/io/read_queue.h"

namespace era {

// A block of an array: of the era array, or of a writeset's bitset.
struct array_position {
  const pd::array_map* map;
  place where;
  std::uint64_t index;
  std::uint32_t nr_bits = 0;    // of a writeset
  bool era_is_assumed = false;  // of a writeset

  // The origin blocks that it covers: a bitset counts its words in bits.
  origin_range origin_blocks() const noexcept;
};

// The newest of the eras; 0 if there are none.
era_nr newest_era(std::span<const pd::le32> eras);

// Returns a finding if a sound block of the era array has eras newer than the current one. The eras
// of those origin blocks are then unknown.
std::optional<finding> find_future_eras(const array_position&, const pd::block&, era_nr current);

// Returns a finding if a sound block of a bitset has bits after the last one of the writeset. Only
// its last word can.
std::optional<finding> find_surplus_bits(const array_position&, const pd::block&);

// Positions that a caller reads at once if there may be millions of writesets.
inline constexpr std::size_t most_positions = 4096;

// For one thread: it has a read queue of its own.
class content_reader {
 public:
  explicit content_reader(const pd::block_device&);

  // Reads the blocks at the positions as one batch, and calls look(k, block) for each position k,
  // in the order of arrival. block is nullptr if the map has lost it, it cannot be read, or its
  // shape is wrong. look may return what is wrong with the content. Adds that and all damage to
  // findings, in the order of positions. Blocks that an array's map has lost were reported with the
  // map, and are not again.
  using visitor = std::function<std::optional<finding>(std::size_t k, const pd::block*)>;
  void read(std::span<const array_position> positions, const visitor& look,
            std::vector<finding>& findings);

  // Begins to read the blocks at positions that read() is going to be called with, in one call or
  // in several. Without it read() does the same, later.
  void prefetch(std::span<const array_position>);

  // Reads blocks that no map leads to, as one batch, and calls look for each. It gets nullptr if
  // the block, which was a sound array block of values of this size when it was found, is that no
  // longer: it cannot be read now, or it has changed.
  void read_strays(std::span<const stray_blocks::entry>, std::uint32_t value_size,
                   const std::function<void(const stray_blocks::entry&, const pd::block*)>& look);

 private:
  pd::read_queue queue_;
  std::vector<pd::block_nr> wanted_;
  std::vector<std::size_t> places_;  // of the wanted, in positions
  std::vector<std::pair<std::size_t, finding>> found_;
};

}  // namespace era
