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
  excluded  // was declared so: what it holds is not to be believed
};

// A view is what one superblock reaches: the live metadata, or a metadata snapshot. Starts in the
// first view.
class reference_counter {
 public:
  // no_but_forgets: what was reached can be forgotten.
  enum class counting { no, yes, no_but_forgets };

  // nr_blocks: the device's size; memory: some bits a block, four bytes a block if it counts, and
  // four bytes for each block that is reached if it forgets.
  reference_counter(std::uint64_t nr_blocks, counting);

  std::uint64_t nr_blocks() const noexcept { return nr_blocks_; }

  // A pointer to a block was found, in block from; from is nothing for what a superblock points to.
  reach_result reach(std::optional<block_nr> from, block_nr to);

  // From now on a metadata snapshot is walked. It may reach again what an earlier view has reached,
  // and the references of such a shared block are not counted again: it holds them once.
  void next_view();

  // References found so far. The superblock has one.
  std::uint32_t references(block_nr) const;

  // Has the first view reached it? And has any view reached it more than once?
  bool in_first_view(block_nr) const;
  bool is_cross_linked(block_nr where) const { return again_[where.value]; }

  // Forgets what was reached, in time that depends only on how much that is: one counter serves
  // many walks that have nothing to do with each other. Requires counting::no_but_forgets.
  void forget();

  // Before a walk: reach() answers `excluded` for this block.
  void exclude(block_nr where) { excluded_[where.value] = true; }

 private:
  std::uint64_t nr_blocks_;
  std::vector<bool> reached_;         // in this view
  std::vector<bool> reached_before_;  // in an earlier one
  std::vector<bool> first_view_;      // in the first, once that is over
  std::vector<bool> again_, excluded_;
  std::vector<std::uint32_t> references_;
  bool forgets_;
  std::vector<std::uint32_t> to_forget_;  // blocks that were reached
};

}  // namespace persistent_data
