// SPDX-License-Identifier: GPL-3.0-or-later
// Checks the shape of a btree node.
#include "persistent-data/format/btree_node.h"

namespace persistent_data {

std::optional<error_detail> validate_node(const block& b, std::uint32_t leaf_value_size) {
  const auto wrong = [](std::string detail) {
    return error_detail{error_class::bad_shape, std::move(detail)};
  };
  const auto& header = b.as<node_header>();
  const std::uint32_t flags = header.flags, nr_entries = header.nr_entries;
  if (flags != internal_node && flags != leaf_node)
    return wrong(fmt::format("the node's flags are {}, neither internal (1) nor leaf (2)", flags));

  const std::uint32_t value_size = flags == leaf_node ? leaf_value_size : child_size;
  if (header.value_size != value_size)
    return wrong(fmt::format("the node's values are {} bytes, not {}",
                             std::uint32_t{header.value_size}, value_size));
  if (header.max_entries != max_node_entries(value_size))
    return wrong(fmt::format("the node has room for {} entries, not {}",
                             std::uint32_t{header.max_entries}, max_node_entries(value_size)));
  if (nr_entries > max_node_entries(value_size))
    return wrong(fmt::format("the node claims {} entries and has room for {}", nr_entries,
                             max_node_entries(value_size)));
  if (flags == internal_node && nr_entries == 0)
    return wrong("the node is internal and has no children");

  const node_view node(b);
  for (std::uint32_t i = 1; i < nr_entries; ++i)
    if (node.key(i - 1) >= node.key(i))
      return wrong(fmt::format("the node's keys do not ascend: {} before {} at entry {}",
                               node.key(i - 1), node.key(i), i));
  return {};
}

}  // namespace persistent_data
