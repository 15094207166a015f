// SPDX-License-Identifier: GPL-3.0-or-later
// The fuzzer's input for devices: a list of changes to sound metadata. Any bytes are such a list,
// so that no mutation of them is wasted; and a changed block can have a right checksum, without
// which no reader would look at it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "persistent-data/format/block.h"
#include "persistent-data/testing/scratch_device.h"

namespace era::fuzz {

namespace pd = persistent_data;

// Takes numbers from the front of the input; zeros after its end.
class input {
 public:
  explicit input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  bool empty() const noexcept { return bytes_.empty(); }
  std::uint64_t number(std::size_t size);
  std::uint64_t below(std::uint64_t n) { return number(n > 256 ? 2 : 1) % n; }

 private:
  std::span<const std::uint8_t> bytes_;
};

struct edit_result {
  unsigned edits = 0;
  bool all_break_checksums = true;  // no block that was changed looks sound
  bool superblock = false;          // block 0 was changed
  std::string description;          // a line for each
};

// Changes blocks below kinds.size() until the input ends or `most` changes are made. kinds: of each
// block, before any change.
edit_result apply_edits(input&, pd::test::scratch_device&,
                        const std::vector<const pd::block_kind*>& kinds, unsigned most);

// The kind of each block up to the last one that has one; nullptr: none.
std::vector<const pd::block_kind*> kinds_of(const pd::test::scratch_device&);

// Makes `to` the same as `from`.
void copy_device(const pd::test::scratch_device& from, pd::test::scratch_device& to);

// Ends the program with a message, so that the fuzzer keeps the input.
[[noreturn]] void fail(const std::string& what);

}  // namespace era::fuzz
