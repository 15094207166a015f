// SPDX-License-Identifier: GPL-3.0-or-later
// The interface of outputs for metadata: XML, or metadata blocks. A sink takes elements, or whole
// stripes, which worker threads have encoded for it.
//
//   worker threads:  encode_bits(), encode_eras()  ->  encoded_stripe
//   one thread:      begin_superblock()
//                      [begin_writeset(), append() or bits()..., end_writeset()]...
//                      begin_era_array(), append() or eras()..., end_era_array()
//                    end_superblock()
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "era/xml/reader.h"
#include "era/xml/run_joiner.h"
#include "persistent-data/format/le.h"

namespace era {

// A stripe as a worker encoded it; each sink uses its own part.
struct encoded_stripe {
  origin_range blocks;  // origin blocks, or bits of a writeset
  text_buffer text;
  piece_of_runs runs;
  std::vector<pd::le64> words;
  std::vector<pd::le32> eras;
  era_nr newest;  // of eras
};

class metadata_sink : public xml::element_sink {
 public:
  // Encodes the bits [blocks.begin, blocks.end) of a writeset: words[0] has the first as its lowest
  // bit. Bits past blocks.end are ignored. Both may be called by any number of threads at the same
  // time.
  virtual encoded_stripe encode_bits(origin_range blocks,
                                     std::span<const pd::le64> words) const = 0;
  // Encodes the eras of the origin blocks from first on.
  virtual encoded_stripe encode_eras(std::uint32_t first,
                                     std::span<const std::uint32_t> eras) const = 0;

  // Is an encoded stripe of a bitset much larger than the stripe?
  virtual bool encodes_large() const noexcept = 0;

  // Takes the next stripe of the writeset or of the era array that has begun, as bits() and eras()
  // take runs. The stripe begins at a multiple of bits_per_bitset_block. Throws as these do.
  virtual void append(const encoded_stripe&) = 0;
};

}  // namespace era
