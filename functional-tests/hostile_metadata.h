// SPDX-License-Identifier: GPL-3.0-or-later
// Metadata that somebody has made by hand to do harm: built on a sound image, in its free blocks,
// each block with its right checksum and number.
#pragma once

#include <cstdint>
#include <vector>

#include "era/format/superblock.h"
#include "era/format/writeset.h"
#include "era/testing/block_roles.h"
#include "era/testing/kernel_image.h"
#include "persistent-data/testing/blocks.h"

namespace sweep {

namespace pd = persistent_data;

class hostile_metadata {
 public:
  // The image is put right again at the end.
  explicit hostile_metadata(era::test::memory_image& image)
      : image_(image), sound_(image.blocks().begin(), image.blocks().end()) {
    const auto used = era::test::counted_blocks(sound_);
    for (std::uint64_t b = 0, i = 0; b < sound_.size(); ++b)
      if (i < used.size() && used[i] == b)
        ++i;
      else
        free_.push_back({b});
  }
  ~hostile_metadata() { std::copy(sound_.begin(), sound_.end(), image_.blocks().begin()); }
  hostile_metadata(const hostile_metadata&) = delete;
  hostile_metadata& operator=(const hostile_metadata&) = delete;

  std::size_t room() const { return free_.size() - next_; }

  pd::block_nr take() { return free_.at(next_++); }

  std::vector<pd::block_nr> take(std::size_t n) {
    std::vector<pd::block_nr> blocks;
    for (std::size_t i = 0; i < n; ++i) blocks.push_back(take());
    return blocks;
  }

  void put(pd::block_nr where, const pd::block& b) { image_.blocks()[where.value] = b; }

  // Keys first, first + step, ...
  void put_internal(pd::block_nr where, const std::vector<pd::block_nr>& children,
                    std::uint64_t first = 0, std::uint64_t step = 1) {
    put(where, pd::test::make_internal(where, keys(first, step, children.size()), children));
  }

  void put_pointers(pd::block_nr where, std::uint64_t first,
                    const std::vector<pd::block_nr>& blocks) {
    std::vector<pd::le64> values;
    for (const pd::block_nr b : blocks) values.emplace_back(b.value);
    put(where, pd::test::make_leaf(where, keys(first, 1, blocks.size()), values));
  }

  // A leaf of n writesets, all alike.
  void put_writesets(pd::block_nr where, std::uint64_t first_era, std::size_t n,
                     std::uint32_t nr_bits, pd::block_nr root) {
    const era::writeset_value value{pd::le32(nr_bits), pd::le64(root.value)};
    put(where, pd::test::make_leaf(where, keys(first_era, 1, n),
                                   std::vector<era::writeset_value>(n, value)));
  }

  template <class Change>
  void superblock(Change change) {
    pd::test::change_and_prepare<era::superblock>(era::superblock_kind, image_.blocks()[0], {0},
                                                  change);
  }

  // The one bitmap of the space map that the images have.
  template <class Change>
  void bitmap(Change change) {
    const auto& root = image_.blocks()[0].as<era::superblock>().space_map;
    const auto& index = image_.blocks()[root.bitmap_root].as<pd::index_block>();
    const std::uint64_t where = index.entries[0].blocknr;
    pd::test::change_and_prepare<pd::bitmap_block>(pd::space_map_bitmap_kind,
                                                   image_.blocks()[where], {where}, change);
  }

  template <class Change>
  void index(Change change) {
    const std::uint64_t where = image_.blocks()[0].as<era::superblock>().space_map.bitmap_root;
    pd::test::change_and_prepare<pd::index_block>(pd::space_map_index_kind, image_.blocks()[where],
                                                  {where}, change);
  }

 private:
  static std::vector<std::uint64_t> keys(std::uint64_t first, std::uint64_t step, std::size_t n) {
    std::vector<std::uint64_t> result;
    for (std::size_t i = 0; i < n; ++i) result.push_back(first + i * step);
    return result;
  }

  era::test::memory_image& image_;
  const std::vector<pd::block> sound_;
  std::vector<pd::block_nr> free_;
  std::size_t next_ = 0;
};

}  // namespace sweep
