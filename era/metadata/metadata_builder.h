// SPDX-License-Identifier: GPL-3.0-or-later
// Builds metadata on a device, in one pass: from the elements of XML, or from stripes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "era/metadata/atomic_metadata_output.h"
#include "era/xml/metadata_sink.h"
#include "persistent-data/io/progress_function.h"

namespace era {

// The metadata blocks that metadata of nr_blocks origin blocks takes without writesets, on a device
// of nr_metadata_blocks: the space map grows with that.
std::uint64_t blocks_needed(std::uint32_t nr_blocks, std::uint64_t nr_metadata_blocks) noexcept;

// A good size for the metadata device: room for some writesets, and all of it twice, since the
// kernel changes copies of blocks.
std::uint64_t blocks_suggested(std::uint32_t nr_blocks) noexcept;

// A document that becomes metadata. The output is opened when the superblock's element is known to
// be good, and wiped when it is known to be large enough.
//
// Throws pd::invalid_input if the input cannot be; pd::device_error, also if the output is too
// small; and what open and progress throw.
class metadata_builder final : public metadata_sink {
 public:
  using open_target = std::function<output_target(std::uint64_t suggested_blocks)>;

  // progress: called at least once for every few megabytes that are written.
  metadata_builder(open_target, pd::progress_function progress);
  ~metadata_builder() override;

  encoded_stripe encode_bits(origin_range blocks, std::span<const pd::le64> words) const override;
  encoded_stripe encode_eras(std::uint32_t first,
                             std::span<const std::uint32_t> eras) const override;
  bool encodes_large() const noexcept override { return false; }
  void append(const encoded_stripe&) override;

  void begin_superblock(const xml::superblock_element&) override;
  void begin_writeset(era_nr, std::uint32_t nr_bits) override;
  void bits(origin_range blocks, bool value) override;
  void end_writeset() override;
  void begin_era_array() override;
  void eras(origin_range blocks, era_nr) override;
  void end_era_array() override;
  void end_superblock() override;

  // Must be called after the document was read to its very end: afterwards the metadata is on the
  // device. Throws pd::invalid_input if digestion would replace eras of the array with older ones;
  // to know that, it reads back what it has written if a writeset may do so.
  void commit();

  // The bytes that were written, and that are still to be written of what has begun: the era array,
  // and a writeset.
  struct work {
    std::uint64_t done = 0, known_rest = 0;
  };
  work progress() const noexcept;

  // After any failure, and instead of all else: what is in the output now.
  output_state abandon() noexcept;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace era
