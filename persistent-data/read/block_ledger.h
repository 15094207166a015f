// SPDX-License-Identifier: GPL-3.0-or-later
// Which blocks have been reached, and by how many references. It bounds every walk (no block is
// entered twice) and gives the reference counts that the space map has to agree with.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "persistent-data/format/block.h"

namespace persistent_data {

enum class reach_result {
  first,    // go on and read it
  again,    // this view has reached it before: within one view each block has one owner
  outside,  // past the device's end, or the superblock: there is nothing to read
};

// A view is what one superblock reaches: the live metadata, or a metadata snapshot. Starts in the
// first view.
class block_ledger {
 public:
  enum class counting { no, yes };

  // nr_blocks: the device's size; memory: a bit or two a block, and four bytes where it counts.
  block_ledger(std::uint64_t nr_blocks, counting);

  std::uint64_t nr_blocks() const noexcept { return nr_blocks_; }

  // A pointer to a block was found, in block from; from is nothing for what a superblock points to.
  reach_result reach(std::optional<block_nr> from, block_nr to);

  // From now on a metadata snapshot is walked. It may reach again what an earlier view has reached,
  // and the references of such a shared block are not counted again: it holds them once.
  void next_view();

  // References found so far. The superblock has one.
  std::uint32_t references(block_nr) const;

 private:
  std::uint64_t nr_blocks_;
  std::vector<bool> reached_;         // in this view
  std::vector<bool> reached_before_;  // in an earlier one
  std::vector<std::uint32_t> references_;
};

}  // namespace persistent_data
