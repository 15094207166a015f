// SPDX-License-Identifier: GPL-3.0-or-later
// Changed blocks for backup programs that know QEMU's dirty bitmaps: a qcow2 image that holds no
// data, but names the source as its raw data file and has a persistent bitmap.
//
// `qemu-nbd -r -B NAME IMAGE` then serves the source together with the bitmap, as the metadata
// context qemu:dirty-bitmap:NAME.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace era {

struct byte_range {
  std::uint64_t begin, end;  // in bytes, half-open
};

struct bitmap_options {
  std::string name;              // of the bitmap; 1 to 1023 bytes
  std::string source;            // the image names it by its absolute path; it is not opened
  std::uint64_t bytes = 0;       // of the source; a multiple of 512
  std::uint32_t block_size = 0;  // in sectors, at least 1; ranges begin and end where blocks do
};

// Returns the bytes of one bit: the largest power of two that divides a block, so that no other
// block is marked, or more on a large device, since qemu makes no bitmap of more than 2^32 bits:
// then parts of blocks beside a marked one are marked, too. block_size: in sectors, above 0.
std::uint64_t bitmap_granularity(std::uint64_t bytes, std::uint32_t block_size) noexcept;

// Makes the image at path, or overwrites a file there. feed returns the ranges to mark, in any
// order, then nullopt; a range that reaches beyond the end of the source ends there. The bitmap is
// disabled: nobody who opens the image changes it.
//
// Scratch files without a name are in the directory of path, or in memory if its file system has
// no such files, and go away when this returns. They take up to 8 bytes for each cluster of 64 KiB
// of the source, or of the largest power of two that divides the block size if that is smaller. The
// image takes as much again.
//
// Throws device_error if an argument cannot be, the image cannot be written, or qemu-img, qemu-nbd
// or libnbd is missing. The file at path is then of no use, and it is the caller who removes it.
// The caller also makes it durable (see new_image).
void create_bitmap_image(const std::string& path, const bitmap_options&,
                         const std::function<std::optional<byte_range>()>& feed);

}  // namespace era
