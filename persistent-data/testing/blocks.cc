// SPDX-License-Identifier: GPL-3.0-or-later
// Fills each field from its arguments, then computes the checksum.
#include "persistent-data/testing/blocks.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace persistent_data::test {

block make_node(block_nr where, node_flag flags, const std::vector<std::uint64_t>& keys,
                std::span<const std::byte> values, std::uint32_t value_size) {
  const std::uint32_t room = max_node_entries(value_size);
  assert(keys.size() <= room && values.size() == keys.size() * value_size);
  block b{};
  auto& header = b.as<node_header>();
  header.flags = flags;
  header.nr_entries = static_cast<std::uint32_t>(keys.size());
  header.max_entries = room;
  header.value_size = value_size;
  const std::vector<le64> on_disk(keys.begin(), keys.end());
  const auto key_bytes = std::as_bytes(std::span(on_disk));
  std::copy(key_bytes.begin(), key_bytes.end(), b.bytes.begin() + sizeof(node_header));
  std::copy(
      values.begin(), values.end(),
      b.bytes.begin() + static_cast<std::ptrdiff_t>(sizeof(node_header) + room * sizeof(le64)));
  prepare_for_write(btree_node_kind, b, where);
  return b;
}

block make_internal(block_nr where, const std::vector<std::uint64_t>& keys,
                    const std::vector<block_nr>& children) {
  std::vector<le64> values;
  for (const block_nr child : children) values.emplace_back(child.value);
  return make_node(where, internal_node, keys, std::as_bytes(std::span(values)), child_size);
}

block make_array_block(block_nr where, std::span<const std::byte> values,
                       std::uint32_t value_size) {
  assert(values.size() <= block_size - sizeof(array_header));
  block b{};
  auto& header = b.as<array_header>();
  header.max_entries = max_array_entries(value_size);
  header.nr_entries = static_cast<std::uint32_t>(values.size() / value_size);
  header.value_size = value_size;
  std::copy(values.begin(), values.end(), b.bytes.begin() + sizeof(array_header));
  prepare_for_write(array_block_kind, b, where);
  return b;
}

block make_index(block_nr where, const std::vector<index_entry>& entries) {
  assert(entries.size() <= max_bitmaps);
  block b{};
  std::copy(entries.begin(), entries.end(), b.as<index_block>().entries);
  prepare_for_write(space_map_index_kind, b, where);
  return b;
}

block make_bitmap(block_nr where, const std::vector<std::uint32_t>& counts) {
  assert(counts.size() <= counts_per_bitmap);
  block b{};
  for (std::size_t i = 0; i < counts.size(); ++i) {
    // Not by set_count, which is under test: the high bit lies first.
    const unsigned pair = (counts[i] & 1u) << 1 | counts[i] >> 1;
    b.as<bitmap_block>().counts[i / 4] |= static_cast<unsigned char>(pair << i % 4 * 2);
  }
  prepare_for_write(space_map_bitmap_kind, b, where);
  return b;
}

}  // namespace persistent_data::test
