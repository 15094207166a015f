// SPDX-License-Identifier: GPL-3.0-or-later
// Walks a btree level by level, so that every level is one sorted batch of reads, and hands over
// its leaves in the order of their keys.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "persistent-data/format/block.h"
#include "persistent-data/format/block_error.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/io/read_queue.h"
#include "persistent-data/read/reference_counter.h"

namespace persistent_data {

// Returns what is wrong with a block that a read queue delivered, before any field of its kind is
// read.
std::optional<error_detail> validate(const block_kind&, const block* data, int error, block_nr);

// Returns what is wrong with a pointer by the counter's answer; nullopt for the first one.
std::optional<error_detail> validate(reach_result, block_nr pointer);

struct btree_events {
  // A leaf that is sound; in the order of keys. The view is valid during the call.
  std::function<void(block_nr where, const node_view&)> leaf;
  // Keys that damage hides; in order with the leaves. The last range may end at 2^64 - 1.
  std::function<void(range keys)> lost;
  // Each damage once, as it is found; hidden: keys.
  block_error_sink damaged;
};

// Serves any number of walks, one after the other; memory: a batch of nodes, 1 MiB, and the block
// numbers of a level.
class btree_walk {
 public:
  btree_walk(read_queue&, reference_counter&);
  ~btree_walk();

  // from: the block that holds the pointer to the root, nothing for a superblock. Every reference
  // is noted in the counter, and no block is entered twice, so that a walk ends whatever is on the
  // disk.
  void walk(std::optional<block_nr> from, block_nr root, std::uint32_t leaf_value_size,
            const btree_events&);

  reference_counter& counter() const noexcept { return counter_; }
  read_queue& queue() const noexcept { return queue_; }

 private:
  struct child;
  enum class level_kind { unknown, internal, leaves };

  void walk_level(unsigned depth);
  std::size_t end_of_batch(std::size_t begin) const;
  void prefetch_batch(std::size_t begin, std::size_t end);
  void read_batch(std::size_t begin, std::size_t end);
  void decide_kind(std::size_t begin, std::size_t end);
  void visit(const child&, std::size_t slot, unsigned depth);
  std::optional<error_detail> validate_place(const child&, const node_view&, unsigned depth) const;
  void add_children(const child&, const node_view&);
  void damaged(const child&, error_detail);
  void lose(range keys);

  read_queue& queue_;
  reference_counter& counter_;

  // The current walk.
  const btree_events* events_ = nullptr;
  std::uint32_t leaf_value_size_ = 0;
  level_kind kind_ = level_kind::unknown;
  std::vector<child> level_, next_level_;

  // The current batch: level_[begin, begin + batch_size).
  std::unique_ptr<block[]> batch_;
  std::size_t batch_room_ = 0;
  std::vector<std::optional<error_detail>> errors_;
  std::vector<block_nr> wanted_;
  std::vector<std::size_t> slots_;
};

}  // namespace persistent_data
