// SPDX-License-Identifier: GPL-3.0-or-later
// Metadata as XML, in the dialect of thin-provisioning-tools, byte for byte; and its compact form,
// in which neighbours with the same value are one element. The functions append pieces of the
// document to a text; who calls them in which order makes the document:
//
//   superblock
//     [writeset, its bits or its marked ranges]...
//     era_array, its eras or their ranges
#pragma once

#include <cstdint>
#include <span>

#include "era/format/superblock.h"
#include "era/text/text_buffer.h"
#include "persistent-data/format/le.h"

namespace era::xml {

// A uuid of zeros is written as an empty one, as the existing tools do with every one.
void begin_superblock(text_buffer&, const superblock&);
void end_superblock(text_buffer&);

void begin_writeset(text_buffer&, era_nr, std::uint32_t nr_bits);
void end_writeset(text_buffer&);

void begin_era_array(text_buffer&);
void end_era_array(text_buffer&);

// A <bit> for each of the bits [blocks.begin, blocks.end); words[0] holds the first of them as its
// lowest bit, so that blocks.begin is a multiple of 64.
void bits(text_buffer&, origin_range blocks, std::span<const pd::le64> words);

// The same for bits that all have this value.
void equal_bits(text_buffer&, origin_range blocks, bool value);

// An <era> for each value; first: the origin block of the first.
void eras(text_buffer&, origin_block first, std::span<const std::uint32_t> values);

// The same for blocks that all have this era.
void equal_eras(text_buffer&, origin_range blocks, era_nr);

// Compact: a run of marked origin blocks, and a run of blocks with one era.
void marked(text_buffer&, origin_range blocks);
void era_range(text_buffer&, origin_range blocks, era_nr);

}  // namespace era::xml
