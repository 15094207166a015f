// SPDX-License-Identifier: GPL-3.0-or-later
// Metadata in memory that the library can open as a file: a kernel image, unpacked, for tests that
// damage it and put it right again.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "persistent-data/format/block.h"

namespace era::test {

namespace pd = persistent_data;

inline constexpr const char* kernel_images[] = {"clean",  "crash",     "fresh",     "full",
                                                "grow",   "many-eras", "odd-block", "reopened",
                                                "shrunk", "snap-live"};

class memory_image {
 public:
  // Unpacks functional-tests/kernel-images/NAME.img.xz; ERA_TESTS_DIR names functional-tests.
  // Throws std::runtime_error.
  explicit memory_image(const std::string& name);
  ~memory_image();
  memory_image(const memory_image&) = delete;
  memory_image& operator=(const memory_image&) = delete;

  const std::string& name() const noexcept { return name_; }
  // The path for block_device.
  const std::string& path() const noexcept { return path_; }

  // The image as it was unpacked; what is written here is what the library reads.
  std::span<pd::block> blocks() noexcept { return blocks_; }
  std::span<const pd::block> blocks() const noexcept { return blocks_; }

  // Makes the device larger, with a hole after the image; blocks() stays as it is.
  void grow_device(std::uint64_t nr_blocks);

 private:
  std::string name_, path_;
  int fd_ = -1;
  std::span<pd::block> blocks_;
};

}  // namespace era::test
