// SPDX-License-Identifier: GPL-3.0-or-later
// The checksum of metadata blocks: CRC32C (Castagnoli) over all but a block's first four bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace persistent_data {

// Starts from 0xffffffff and is not inverted at the end, as device-mapper stores it; the caller
// XORs the block kind's salt. Any length.
std::uint32_t crc32c(std::span<const std::byte> bytes) noexcept;

namespace detail {
// The table-driven version that serves if ISA-L is missing; here so that a test can compare.
std::uint32_t crc32c_portable(std::span<const std::byte> bytes) noexcept;
}  // namespace detail

}  // namespace persistent_data
