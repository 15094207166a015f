// SPDX-License-Identifier: GPL-3.0-or-later
// Array blocks that no sound tree places: what their leaves, outdated ones among them, say of their
// places is all that is known.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "era/format/units.h"
#include "persistent-data/format/block.h"

namespace era {

// Blocks that may be the array's block `index`, any number for each index. Sorted by index.
class stray_blocks {
 public:
  struct entry {
    std::uint32_t index, block;
    friend auto operator<=>(const entry&, const entry&) = default;
  };

  // Returns false if the limit of entries is reached; then the list is incomplete.
  bool add(std::uint64_t index, pd::block_nr);
  void resolve();  // after all have been added

  bool empty() const noexcept { return entries_.empty(); }
  // One past the highest index; 0 if there are none.
  std::uint64_t end() const noexcept {
    return empty() ? 0 : entries_.back().index + std::uint64_t{1};
  }
  bool contains(std::uint64_t index, pd::block_nr) const noexcept;
  // The entries of array blocks [begin, end).
  std::span<const entry> of(pd::range indices) const noexcept;
  std::span<const entry> all() const noexcept { return entries_; }
  void erase_blocks(const std::function<bool(pd::block_nr)>& which);

 private:
  static constexpr std::size_t most = std::size_t{16} << 20;

  std::vector<entry> entries_;
  std::size_t resolved_ = 0;
};

}  // namespace era
