// SPDX-License-Identifier: GPL-3.0-or-later
// qcow2 images, by qemu-img: an image is whole, or an overlay whose backing file is an earlier one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace era {

enum class image_format { raw, qcow2 };
const char* name(image_format) noexcept;

struct backing_image {
  std::string path;
  image_format format = image_format::raw;
};

// Returns true if a regular file or block device has a qcow2 image's magic number, false if it
// cannot be read.
bool begins_like_qcow2(const std::string& path);

// Returns true if both begin like the same qcow2 image: of the same size, with its tables at the
// same place.
bool begin_like_one_qcow2(const std::string& a, const std::string& b);

// The name of a file for qemu's programs, which take "nbd:..." and the like for a protocol, and
// "-x" for an option.
std::string name_for_qemu(const std::string& path);

struct image_summary {
  std::uint64_t bytes = 0;  // of what it holds
  // Those that its content comes from: itself, the images below it, and their data files. A file
  // may be there twice, by its path and by its address.
  std::vector<std::string> files;
  std::size_t nr_files = 0;
};

// Throws device_error: the image, or one below it, cannot be read, or is of another format.
image_summary summary_of_image(const backing_image&);

// Runs qemu-img with these arguments; see run_program.
std::string run_qemu_img(std::vector<std::string> arguments);

// Returns the largest power of two, in bytes, that divides a block. block_size: in sectors, above
// 0.
std::uint64_t largest_power_in_block(std::uint32_t block_size) noexcept;

// Returns the cluster size in bytes: the largest power of two up to 64 KiB that divides a block, or
// more if qemu opens no image of that size with it. block_size: in sectors, above 0.
std::uint64_t qcow2_cluster_bytes(std::uint64_t bytes, std::uint32_t block_size);

struct qcow2_options {
  std::uint64_t bytes = 0;       // of what it holds
  std::uint32_t block_size = 0;  // sectors of the blocks that will be written
  const backing_image* backing = nullptr;
};

// Makes an image that holds nothing of its own. A block that is written allocates nothing of
// others, unless the clusters have to be larger. The name of a backing file in the same directory
// is relative: such a chain may be moved as a whole. Throws device_error.
void create_qcow2(const std::string& path, const qcow2_options&);

// Throws device_error if the tables of an image are not consistent, or it is still in use. Reads
// all of its tables.
void check_qcow2(const std::string& path);

}  // namespace era
