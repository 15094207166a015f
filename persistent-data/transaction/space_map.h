// SPDX-License-Identifier: GPL-3.0-or-later
// The reference counts of a metadata device's blocks while they change: all of them in memory,
// three bits each, and written as a whole transaction ends. Its own blocks are counted like all
// others.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "persistent-data/format/errors.h"
#include "persistent-data/format/space_map.h"
#include "persistent-data/transaction/block_cache.h"

namespace persistent_data {

// A number of a block past the end of the device throws damaged_metadata, wherever it is given.
class space_map_editor {
 public:
  // For a new device: only the superblock is in use. Nothing is written before a commit.
  static space_map_editor make(block_cache&);
  // Reads what a superblock's root describes. Throws damaged_metadata, device_error.
  static space_map_editor load(block_cache&, const disk_sm_root&);

  std::uint64_t nr_blocks() const noexcept { return used_at_commit_.size(); }
  std::uint64_t nr_used() const noexcept { return nr_used_; }
  // References to the block; 0: it is free.
  std::uint32_t count(block_nr) const;

  // A block that is free and was so at the last commit: what that one reaches stays as it is until
  // the next. Its count is 1 then. Throws no_space.
  block_nr allocate();
  // Throws damaged_metadata if the count was 0, or is as high as it can be.
  void increment(block_nr);
  // Returns what is left. Throws damaged_metadata if it was 0: then the metadata is wrong.
  std::uint32_t decrement(block_nr);

  // Was it allocated after the last commit?
  bool is_new(block_nr) const;

  // Puts the changes into new blocks of the cache and returns their root; has to be followed by a
  // commit of the superblock, then by committed(). Throws no_space, damaged_metadata,
  // device_error.
  disk_sm_root write();
  void committed();

 private:
  space_map_editor(block_cache& cache, std::uint64_t nr_blocks);

  void check(block_nr) const;
  std::uint32_t count_in_bitmap(block_nr) const noexcept;
  void set(block_nr, std::uint32_t count);
  void load_bitmaps(const disk_sm_root&);
  void load_large_counts(block_nr root, unsigned depth);
  void write_large_counts();
  void move_bitmaps();
  void count_free(std::uint32_t i);
  void put_bitmap(std::uint32_t i);
  [[noreturn]] void fail(const std::string& why) const;

  block_cache* cache_;
  std::vector<bitmap_block> bitmaps_;             // as they are to be written
  std::map<std::uint64_t, std::uint32_t> large_;  // the counts of which a bitmap says count_in_tree
  std::vector<bool> used_at_commit_;
  std::vector<std::uint32_t> taken_or_freed_;  // since the commit; some more than once
  std::uint64_t nr_used_ = 0, next_ = 1;

  block_nr index_root_{}, tree_root_{};
  std::vector<block_nr> tree_nodes_;  // of the tree on disk
  index_block index_{};        // its entries' nr_free are right, none_free_before is a lower bound
  std::vector<bool> dirty_;    // by bitmap
  bool tree_changed_ = false;  // counts of three and more
};

}  // namespace persistent_data
