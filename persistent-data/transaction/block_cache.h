// SPDX-License-Identifier: GPL-3.0-or-later
// Blocks of a metadata device in memory: validated when they are read, prepared for writing when
// they are written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <set>
#include <unordered_map>

#include "persistent-data/format/block.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_store.h"

namespace persistent_data {

struct cached_block {
  block_nr where;
  const block_kind* kind = nullptr;
  block content;
};
// The cache neither drops nor reuses a block while a caller holds a pointer to it.
using block_ptr = std::shared_ptr<cached_block>;

// For one thread.
class block_cache {
 public:
  // Keeps about this many blocks; more only while they are in use.
  block_cache(block_store&, std::size_t capacity);

  block_store& store() const noexcept { return store_; }

  // Throws damaged_metadata, device_error.
  block_ptr read(const block_kind&, block_nr);
  // A block of zeros, dirty; whatever was known of the place is forgotten.
  block_ptr create(const block_kind&, block_nr);
  // For a block that its user is going to change, though it has been written. Nothing on the device
  // may refer to it yet.
  void set_dirty(const cached_block& block) { dirty_.insert(block.where.value); }

  // Writes what is dirty, without a flush; costs nothing for what is not. A block that somebody has
  // must not be changed any more: it may be part of a commit now. Throws device_error.
  void write_dirty();
  // Forgets everything, dirty or not: nobody may have a block.
  void clear();

  std::size_t size() const noexcept { return blocks_.size(); }

 private:
  struct entry {
    block_ptr block;
    std::list<std::uint64_t>::iterator used;
  };

  block_ptr insert(block_ptr);
  void make_room();
  // Those that nobody has, the longest unused first, until there is room.
  void forget_clean();
  enum class in_use { stay_dirty, are_clean };
  void write_dirty(in_use);

  block_store& store_;
  std::size_t capacity_;
  std::unordered_map<std::uint64_t, entry> blocks_;
  std::list<std::uint64_t> recent_;  // the latest first
  std::set<std::uint64_t> dirty_;
};

}  // namespace persistent_data
