// SPDX-License-Identifier: GPL-3.0-or-later
// A metadata block and what all kinds of blocks have in common: a checksum that is salted by the
// kind, and the block's own number, by which a misdirected write is found.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "persistent-data/format/error_class.h"
#include "persistent-data/format/le.h"
#include "persistent-data/format/strong.h"

namespace persistent_data {

inline constexpr std::size_t block_size = 4096;
// The unit of Linux for lengths and places on devices, in bytes.
inline constexpr std::size_t sector_size = 512;

// A block of the metadata device: it starts at byte block_size * value.
using block_nr = strong<struct metadata_block_tag, std::uint64_t>;

using block_range = range_of<metadata_block_tag>;

// Returns the range that has this block alone.
inline block_range one_block(block_nr b) noexcept { return {b.value, b.value + 1}; }

// A space map has at most 255 bitmaps of 16,320 blocks; the rest of a larger device is not used.
inline constexpr std::uint64_t max_metadata_blocks = std::uint64_t{255} * 16320;

struct alignas(block_size) block {
  std::array<std::byte, block_size> bytes;

  template <class Layout>
  const Layout& as() const noexcept {
    static_assert(sizeof(Layout) <= block_size && alignof(Layout) == 1);
    return *reinterpret_cast<const Layout*>(bytes.data());
  }
  template <class Layout>
  Layout& as() noexcept {
    static_assert(sizeof(Layout) <= block_size && alignof(Layout) == 1);
    return *reinterpret_cast<Layout*>(bytes.data());
  }
};
static_assert(sizeof(block) == block_size);

// The kinds of blocks. The checksum is the first field of each; the number's place differs. Every
// column has to be given: a kind that lacks one does not compile.
struct block_kind {
  constexpr block_kind(std::string_view n, std::uint32_t s, std::size_t offset)
      : name(n), salt(s), blocknr_offset(offset) {}

  std::string_view name;  // with its article, as messages say it
  std::uint32_t salt;
  std::size_t blocknr_offset;
};

// The kinds of persistent data, and the superblock of dm-era: a copy of it may lie where another
// kind belongs. A kind does not fix a block's shape. The block that refers to it knows the size and
// the number of its values.
inline constexpr block_kind block_kinds[] = {
    {"a btree node", 121107, 8},      {"an array block", 595846735, 16},
    {"a space map index", 160478, 8}, {"a space map bitmap", 240779, 8},
    {"a superblock", 146538381, 8},
};
inline constexpr const block_kind &btree_node_kind = block_kinds[0],
                                  &array_block_kind = block_kinds[1],
                                  &space_map_index_kind = block_kinds[2],
                                  &space_map_bitmap_kind = block_kinds[3],
                                  &era_superblock_kind = block_kinds[4];

struct error_detail {
  error_class type;
  std::string text;  // without the block's number: "the checksum is wrong"
};

// Checksum, kind and location, before any other field is trusted. Nothing: the block is intact.
std::optional<error_detail> validate(const block_kind&, const block&, block_nr);

// Which of block_kinds an intact block is that was written for this place; nullptr: none.
const block_kind* identify(const block&, block_nr) noexcept;

// Writes the block's number and its checksum: the last thing before it is written to disk.
void prepare_for_write(const block_kind&, block&, block_nr) noexcept;

bool is_zero(const block&) noexcept;
bool is_zero(std::span<const std::byte>) noexcept;

}  // namespace persistent_data
