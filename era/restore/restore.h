// SPDX-License-Identifier: GPL-3.0-or-later
// Builds metadata from XML: from a stream of elements to a device, in one pass.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "era/xml/reader.h"
#include "persistent-data/io/write_queue.h"

namespace era {

// Where the metadata goes. begin() is called once it is known that the output is large enough,
// before anything is written: it wipes what was there.
struct restore_target {
  pd::write_queue& queue;
  std::uint64_t nr_blocks;
  std::function<void()> begin;
};

// The blocks that metadata takes: everything but writesets is known from nr_blocks.
// nr_metadata_blocks: the device's, whose space map grows with it.
std::uint64_t blocks_needed(std::uint32_t nr_blocks, std::uint64_t nr_metadata_blocks) noexcept;

// A document that becomes metadata; end_superblock() has it all on the device, the superblock last,
// after a flush. Throws xml::rejected where the input cannot be, or the output is too small; and
// device_error.
class restorer final : public xml::document {
 public:
  explicit restorer(restore_target);
  ~restorer() override;

  void begin_superblock(const xml::superblock_element&) override;
  void begin_writeset(era_nr, std::uint32_t nr_bits) override;
  void bits(pd::range blocks, bool value) override;
  void end_writeset() override;
  void begin_era_array() override;
  void eras(pd::range blocks, era_nr) override;
  void end_era_array() override;
  void end_superblock() override;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace era
