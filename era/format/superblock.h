// SPDX-License-Identifier: GPL-3.0-or-later
// The era superblock: block 0, and the metadata snapshot's copy of it elsewhere.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "era/format/units.h"
#include "persistent-data/format/block.h"
#include "persistent-data/format/le.h"
#include "persistent-data/format/space_map.h"
#include "persistent-data/format/strong.h"

namespace era {

namespace pd = persistent_data;

// All zeros for what the kernel writes; it writes zeros over any other at its first commit.
using uuid_bytes = std::array<unsigned char, 16>;

inline constexpr const pd::block_kind& superblock_kind = pd::era_superblock_kind;
inline constexpr pd::block_nr superblock_location{0};
inline constexpr std::uint64_t superblock_magic = 2126579579;
inline constexpr std::uint32_t superblock_version = 1;
inline constexpr std::uint32_t sectors_per_metadata_block = 8;

struct superblock {
  pd::le32 csum;
  pd::le32 flags;  // the kernel writes 0, some other writers set clean_shutdown; nothing reads it
  pd::le64 blocknr;
  uuid_bytes uuid;
  pd::le64 magic;
  pd::le32 version;
  pd::disk_sm_root space_map;
  unsigned char space_map_unused[128 - sizeof(pd::disk_sm_root)];
  pd::le32 data_block_size;  // sectors
  pd::le32 metadata_block_size;
  pd::le32 nr_blocks;  // origin blocks
  pd::le32 current_era;
  pd::le32 current_nr_bits;
  pd::le64 current_root;  // the current writeset's bitset; 0: there is none, it is archived
  pd::le64 writeset_tree_root;
  pd::le64 era_array_root;
  pd::le64 metadata_snap;  // the block of the snapshot's superblock; 0: none
};
static_assert(sizeof(superblock) == 224);
static_assert(offsetof(superblock, blocknr) == superblock_kind.blocknr_offset);
static_assert(offsetof(superblock, magic) == 32);
static_assert(offsetof(superblock, space_map) == 44);
static_assert(offsetof(superblock, data_block_size) == 172);
static_assert(offsetof(superblock, current_root) == 192);
static_assert(offsetof(superblock, metadata_snap) == 216);

inline constexpr std::uint32_t clean_shutdown = 1;

// Is this an era superblock of a version that is known? Everything else about it may be wrong.
std::optional<pd::error_detail> validate_superblock(const pd::block&, pd::block_nr where);

// A metadata snapshot's superblock is a copy: the space map and the current writeset that it names
// are not held.
enum class superblock_copy { live, of_snapshot };

// Returns what is implausible in a superblock that validate_superblock has accepted, each field
// against the others and against the device's size in blocks; of a snapshot's, what is held.
std::vector<pd::error_detail> check_superblock(const superblock&, std::uint64_t nr_metadata_blocks,
                                               superblock_copy);

// The error_detail of a block 0 of zeros: it may have been a superblock that was wiped.
bool is_unformatted(const pd::error_detail&);

// Returns what a block 0 that is no era superblock seems to be instead, for a message: "it is XML:
// …"; with the way out if there is one. Returns nullopt if it cannot tell.
std::optional<std::string> recognize(const pd::block&);

}  // namespace era
