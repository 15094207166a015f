// SPDX-License-Identifier: GPL-3.0-or-later
// The units of the metadata: eras, and blocks of the device whose writes are tracked.
#pragma once

#include <cstdint>

#include "persistent-data/format/block.h"
#include "persistent-data/format/divide_up.h"
#include "persistent-data/format/strong.h"

namespace era {

namespace pd = persistent_data;

// 0: never written. The first era is 1.
using era_nr = pd::strong<struct era_tag, std::uint32_t>;
using era_range = pd::range_of<era_tag>;
// The kernel counts eras with 32 bits. After this one there is one more; then it would begin era 0.
inline constexpr std::uint32_t max_current_era = 0xfffffffe;

// A block of the device whose writes are tracked; it has data_block_size sectors. A writeset has a
// bit for each.
using origin_block = pd::strong<struct origin_block_tag, std::uint32_t>;
using origin_range = pd::range_of<origin_block_tag>;
// The kernel tracks fewer than 2^31 blocks.
inline constexpr std::uint32_t max_origin_blocks = 0x7fffffff;

// A block size is in sectors, as the metadata has it. The kernel takes multiples of its page.
constexpr bool is_possible_block_size(std::uint32_t sectors) noexcept {
  return sectors != 0 && sectors % 8 == 0;
}
constexpr std::uint64_t bytes_of_block(std::uint32_t sectors) noexcept {
  return std::uint64_t{sectors} * pd::sector_size;
}
// How many blocks a device of this size has; the last one may be shorter. Both in the same unit.
constexpr std::uint64_t blocks_for(std::uint64_t size, std::uint64_t size_of_block) noexcept {
  return persistent_data::divide_up(size, size_of_block);
}

}  // namespace era
