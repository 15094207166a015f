// SPDX-License-Identifier: GPL-3.0-or-later
// The units of the metadata: eras, and blocks of the device whose writes are tracked.
#pragma once

#include <cstdint>

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

}  // namespace era
