// SPDX-License-Identifier: GPL-3.0-or-later
// Changes to metadata that take effect together: until the commit the device holds what the last
// one left, whatever happens. Changed blocks are copies in places that were free.
#pragma once

#include <cstdint>

#include "persistent-data/transaction/block_cache.h"
#include "persistent-data/transaction/space_map.h"

namespace persistent_data {

// For one thread. Anything that throws in the middle of a change (no_space, device_error,
// damaged_metadata) leaves a transaction that can only be thrown away; so does a commit that
// throws.
class transaction {
 public:
  // On metadata whose space map a superblock describes; or on a new device. The store must outlive
  // the transaction. cache_blocks: how many blocks are kept in memory.
  transaction(block_store&, std::size_t cache_blocks, const disk_sm_root&);
  transaction(block_store&, std::size_t cache_blocks);
  transaction(const transaction&) = delete;
  transaction& operator=(const transaction&) = delete;

  block_ptr read(const block_kind& kind, block_nr where) { return cache_.read(kind, where); }
  // A new block of zeros, to be filled; it has one reference.
  block_ptr create(const block_kind&);

  struct shadow {
    block_ptr block;
    // The old block goes on with other references: what its content refers to has one more now, and
    // the caller has to count it.
    bool was_shared;
  };
  // A block that may be changed: itself if it is new and has one reference, or else a copy, to
  // which the caller moves his reference.
  shadow shadow_of(const block_kind&, block_nr);

  space_map_editor& counts() noexcept { return counts_; }
  const space_map_editor& counts() const noexcept { return counts_; }

  // A commit has two phases. prepare() writes all that has changed, and flushes: nothing on the
  // device refers to it yet. Returns what the superblock has to say about the space map.
  disk_sm_root prepare();
  // Prepares the superblock for writing, writes it to block 0, and flushes. Must follow prepare(),
  // with no change in between.
  void commit(const block_kind& superblock_kind, block& superblock);

 private:
  block_cache cache_;
  space_map_editor counts_;
};

}  // namespace persistent_data
