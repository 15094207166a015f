// SPDX-License-Identifier: GPL-3.0-or-later
// For tests: images as qemu's own programs see them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace era::test {

// The words for a test that is skipped, if images cannot be written here.
std::optional<std::string> why_no_images();

// The data of a qcow2 image and its backing files. scratch: a file that may be overwritten.
std::string data_of_image(const std::string& path, const std::string& scratch);

// Bytes of data that the image itself has, and no backing file; clusters of zeros do not count.
std::uint64_t allocated_bytes(const std::string& path);

}  // namespace era::test
