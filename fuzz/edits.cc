// SPDX-License-Identifier: GPL-3.0-or-later
// A change is a byte that says what is done, the block, the place in it, and a value.
#include "fuzz/edits.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "era/format/superblock.h"

namespace era::fuzz {

std::uint64_t input::number(std::size_t size) {
  std::uint64_t value = 0;
  const std::size_t have = std::min(size, bytes_.size());
  std::memcpy(&value, bytes_.data(), have);
  bytes_ = bytes_.subspan(have);
  return value;
}

std::vector<const pd::block_kind*> kinds_of(const pd::test::scratch_device& device) {
  std::vector<const pd::block_kind*> kinds;
  for (std::uint64_t b = 0; b < device.nr_blocks(); ++b) {
    const pd::block_nr where{b};
    const pd::block& content = device[where];
    const pd::block_kind* kind = pd::identify(content, where);
    if (!kind && !pd::validate(superblock_kind, content, where)) kind = &superblock_kind;
    kinds.push_back(kind);
  }
  while (!kinds.empty() && !kinds.back()) kinds.pop_back();
  return kinds;
}

void copy_device(const pd::test::scratch_device& from, pd::test::scratch_device& to) {
  std::memcpy(&to[{0}], &from[{0}], from.nr_blocks() * pd::block_size);
}

edit_result apply_edits(input& in, pd::test::scratch_device& device,
                        const std::vector<const pd::block_kind*>& kinds, unsigned most) {
  edit_result result;
  std::vector<std::uint64_t> changed;
  while (!in.empty() && result.edits < most) {
    const std::uint64_t what = in.number(1);
    const bool keeps_checksum = (what & 8) != 0;
    const std::uint64_t nr = in.below(kinds.size()), other = in.below(kinds.size());
    pd::block& b = device[{nr}];
    std::byte* bytes = b.bytes.data();
    // Fields of headers are more worth than others.
    std::size_t at = (what & 16) != 0 ? 4 * in.below(64) : in.number(2) % (pd::block_size - 8);
    const auto set = [&](std::uint64_t value, std::size_t size) {
      std::memcpy(bytes + at, &value, size);
    };
    switch (what & 7) {
      case 0: set(in.number(1), 1); break;
      case 1: set(in.number(4), 4); break;
      case 2: set(in.number(8), 8); break;
      case 3: set(other, 8); break;
      case 4: b = pd::block{}; break;
      case 5: b = device[{other}]; break;
      case 6: {
        std::uint32_t value;
        std::memcpy(&value, bytes + at, 4);
        set(value + static_cast<std::uint32_t>(in.number(1)) - 128, 4);
        break;
      }
      default: std::swap(b, device[{other}]); changed.push_back(other);
    }
    changed.push_back(nr);
    if (keeps_checksum && kinds[nr]) pd::prepare_for_write(*kinds[nr], b, {nr});
    ++result.edits;
    result.description += fmt::format("edit {} of block {} at {}, other {}\n", what, nr, at, other);
  }
  for (const std::uint64_t nr : changed) {
    result.superblock = result.superblock || nr == 0;
    const pd::block& now = device[{nr}];
    if (pd::identify(now, {nr}) || !pd::validate(superblock_kind, now, {nr}))
      result.all_break_checksums = false;
  }
  return result;
}

void fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::abort();
}

}  // namespace era::fuzz
