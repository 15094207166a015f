// SPDX-License-Identifier: GPL-3.0-or-later
// For tests: a metadata device in memory that a test fills block by block, a layout that puts whole
// trees, arrays and space maps onto it, and the readers' tools over it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "persistent-data/format/block.h"
#include "persistent-data/format/block_error.h"
#include "persistent-data/format/space_map.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/io/read_queue.h"
#include "persistent-data/read/btree_walk.h"
#include "persistent-data/read/reference_counter.h"

namespace persistent_data::test {

// A file without a name, all zeros at first. Only written blocks take memory: it can be as large as
// metadata can be. Every block_device that is opened on it sees at once what a test writes.
class scratch_device {
 public:
  explicit scratch_device(std::uint64_t nr_blocks);
  ~scratch_device();
  scratch_device(const scratch_device&) = delete;
  scratch_device& operator=(const scratch_device&) = delete;

  // Valid as long as this process keeps the device.
  const std::string& path() const noexcept { return path_; }
  std::uint64_t nr_blocks() const noexcept { return nr_blocks_; }

  block& operator[](block_nr);
  const block& operator[](block_nr) const;

  // Flips a bit in the middle of the block: its checksum fails.
  void damage_block(block_nr);

  // The device ends here from now on; whoever has opened it before finds the blocks from nr_blocks
  // on unreadable (ENODATA). They must not be touched by operator[] any more.
  void cut(std::uint64_t nr_blocks);

  block_device open(engine_choice engine = engine_choice::automatic,
                    access how = access::shared) const {
    return {path_, how, engine};
  }

 private:
  int fd_;
  std::string path_;
  std::uint64_t nr_blocks_, mapped_blocks_;
  block* blocks_;
};

// How full a layout makes the nodes of a tree; 0: as full as they can be.
struct node_fill {
  std::uint32_t leaf_entries = 0;
  std::uint32_t children = 0;
};

struct laid_tree {
  block_nr root;
  std::vector<std::vector<block_nr>> levels;  // from the root's to the leaves', in order of keys
};

struct laid_array {
  laid_tree tree;
  std::vector<block_nr> blocks;

  block_nr root() const noexcept { return tree.root; }
};

struct laid_space_map {
  disk_sm_root root;
  block_nr index;
  std::vector<block_nr> bitmaps;
  laid_tree large;  // the tree of the counts of three and more
};

// Takes a device's blocks one after the other and counts one reference to each, so that the space
// map it lays last is right. A space map is as the kernel writes it, except for none_free_before,
// which is exact.
class layout {
 public:
  // Block 0, the superblock, is the caller's to write; it is counted.
  explicit layout(scratch_device&);

  scratch_device& device() const noexcept { return device_; }

  // The next free block, from now on in use.
  block_nr take();

  // The references of a block, 1 for each that was taken: to be changed before space_map().
  std::uint32_t& count(block_nr where) { return counts_.at(where.value); }
  std::uint64_t nr_taken() const noexcept { return next_; }

  // Keys must ascend. Without entries: one empty leaf.
  template <class Value>
  laid_tree btree(const std::vector<std::pair<std::uint64_t, Value>>& entries,
                  node_fill fill = {}) {
    std::vector<std::uint64_t> keys;
    std::vector<Value> values;
    for (const auto& [key, value] : entries) keys.push_back(key), values.push_back(value);
    return btree(keys, std::as_bytes(std::span(values)), sizeof(Value), fill);
  }

  // Value: le32 for an era array, le64 for a bitset.
  template <class Value>
  laid_array array(const std::vector<Value>& values, node_fill fill = {}) {
    return array(std::as_bytes(std::span(values)), sizeof(Value), fill);
  }

  // Counts all blocks of the device, its own ones among them. Nothing may be taken afterwards.
  laid_space_map space_map();

 private:
  laid_tree btree(std::span<const std::uint64_t> keys, std::span<const std::byte> values,
                  std::uint32_t value_size, node_fill);
  laid_array array(std::span<const std::byte> values, std::uint32_t value_size, node_fill);

  scratch_device& device_;
  std::vector<std::uint32_t> counts_;  // by block, of the whole device
  std::uint64_t next_ = 1;
};

// Everything it is told, in order.
struct damage_log {
  std::vector<block_error> all;

  block_error_sink sink() {
    return [this](const block_error& d) { all.push_back(d); };
  }
  // A line for each, as "block: class [begin, end) detail", for EXPECT_EQ's messages.
  std::string text() const;
};

// A scratch device with the readers under test.
struct reader {
  explicit reader(const scratch_device& scratch, engine_choice engine = engine_choice::automatic)
      : device(scratch.path(), access::shared, engine),
        queue(device.make_engine(), device.nr_blocks(), device.make_engine()),
        counter(device.nr_blocks(), reference_counter::counting::yes),
        walk(queue, counter) {}

  block_device device;
  read_queue queue;
  reference_counter counter;
  btree_walk walk;
};

}  // namespace persistent_data::test
