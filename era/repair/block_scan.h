// SPDX-License-Identifier: GPL-3.0-or-later
// Reads blocks without the trees above them: classifies each by itself, and puts array blocks in
// their places by the leaves that name them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "era/format/superblock.h"
#include "era/format/writeset.h"
#include "era/metadata/stray_blocks.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/io/progress_function.h"
#include "persistent-data/io/read_queue.h"

namespace era {

enum class block_class : std::uint8_t {
  not_scanned,
  zero,
  invalid,     // cannot be read, or is no intact block of this place
  impossible,  // is intact, and says what the format forbids
  internal_node,
  writeset_leaf,  // of the writeset tree
  array_leaf,     // of the tree of an array
  other_leaf,
  eras,  // a block of an era array
  bits,  // a block of a bitset
  superblock,
  other  // of the space map
};

// A writeset as a leaf of the writeset tree names it.
struct named_writeset {
  std::uint64_t era = 0;
  std::uint32_t nr_bits = 0;
  std::uint64_t root = 0;
  friend auto operator<=>(const named_writeset&, const named_writeset&) = default;
};

class block_scan {
 public:
  // Borrows the device. Memory: a byte a block.
  explicit block_scan(const pd::block_device&);

  // Reads and classifies, in parallel. progress is called now and then.
  void scan(std::span<const pd::block_nr>, const pd::progress_function& progress);
  // Those that the scanned leaves of arrays lead to, as far as they are not scanned yet.
  void scan_children(const pd::progress_function& progress);
  // All blocks except the superblock.
  void scan_all(const pd::progress_function& progress);

  std::uint64_t nr_blocks() const noexcept { return classes_.size(); }
  block_class class_of(pd::block_nr where) const noexcept {
    return where.value < classes_.size() ? classes_[where.value] : block_class::not_scanned;
  }

  // The newest era below max_current_era that any of the scanned blocks names; 0: none.
  std::uint32_t newest_era() const noexcept { return newest_era_; }
  // Superblocks that were met, such as a metadata snapshot's.
  const std::vector<superblock>& superblocks() const noexcept { return superblocks_; }

  // All scanned blocks of a class.
  std::vector<pd::block_nr> all(block_class) const;

  // Nodes that may be the root of an array's tree, since their keys begin with 0: at least the
  // first `most` of them, ascending.
  std::vector<pd::block_nr> possible_array_roots(std::size_t most);

  // Everything that a scanned node leads to lies before this block.
  std::uint64_t end_of_children();

  // Collects the writesets that the scanned leaves name, each once, without those that have no
  // bits. Here and below, returns false if there are more than sound metadata has: the rest is left
  // out.
  bool collect(std::vector<named_writeset>&);

  // Array blocks, by the places that leaves of their trees give them.
  struct placed_blocks {
    stray_blocks eras, bits;
    // Blocks that no leaf places: no leaf names them, or only one that cannot be where it says.
    std::vector<pd::block_nr> unplaced_eras, unplaced_bits;
    // By place: a leaf leads to a block that is broken or of another kind, and was perhaps a
    // bitset.
    std::vector<bool> lost_bits;
    bool is_complete = true;  // false: there are more than sound metadata has; the rest is left out
  };
  // Places the scanned array blocks in arrays of nr_blocks origin blocks. A leaf whose first key is
  // not 0 is believed only if a scanned internal node leads to it with that key.
  placed_blocks place(std::uint32_t nr_blocks);

  // The bits that any of these bitset blocks has, by word. One that can no longer be read may have
  // had all.
  std::vector<pd::le64> merge_bits(std::span<const pd::block_nr>);

 private:
  // A worker's result for a batch of blocks.
  struct scan_batch {
    std::vector<block_class> classes;
    std::vector<superblock> superblocks;
    std::uint32_t newest_era = 0;

    void note(std::uint64_t era);
  };
  block_class classify(const pd::block&, pd::block_nr, scan_batch&) const;
  bool is_possible_array_node(const pd::node_view&, pd::block_nr) const;
  template <class Visit>
  void each_node(block_class, Visit);

  const pd::block_device& device_;
  pd::read_queue queue_;
  std::vector<block_class> classes_;
  std::vector<superblock> superblocks_;
  std::uint32_t newest_era_ = 0;
};

}  // namespace era
