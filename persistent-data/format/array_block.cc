// SPDX-License-Identifier: GPL-3.0-or-later
// Checks the shape of an array block.
#include "persistent-data/format/array_block.h"

namespace persistent_data {

std::optional<error_detail> validate_array_block(const block& b, std::uint32_t value_size,
                                                 std::uint32_t nr_entries) {
  const auto& header = b.as<array_header>();
  const auto differs = [](const char* what, std::uint32_t is, std::uint32_t should_be) {
    return error_detail{error_class::bad_shape,
                        fmt::format("the array block's {} is {}, not {}", what, is, should_be)};
  };
  if (header.value_size != value_size) return differs("value size", header.value_size, value_size);
  if (header.max_entries != max_array_entries(value_size))
    return differs("room", header.max_entries, max_array_entries(value_size));
  if (header.nr_entries != nr_entries)
    return differs("number of values", header.nr_entries, nr_entries);
  return {};
}

}  // namespace persistent_data
