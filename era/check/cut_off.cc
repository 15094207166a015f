// SPDX-License-Identifier: GPL-3.0-or-later
// A block of a shape that the format forbids may have been anything.
#include "era/check/cut_off.h"

#include <algorithm>

#include "era/format/writeset.h"
#include "persistent-data/format/array_block.h"
#include "persistent-data/format/btree_node.h"

namespace era {

bool may_list_writes(const pd::block& b, pd::block_nr where) {
  const pd::block_kind* const kind = pd::identify(b, where);
  if (kind == &pd::array_block_kind) {
    if (!pd::is_array_block_of(b, sizeof(pd::le64)))
      return !pd::is_array_block_of(b, sizeof(pd::le32));
    const auto words = pd::array_room<pd::le64>(b);
    return std::any_of(words.begin(), words.end(), [](std::uint64_t word) { return word != 0; });
  }
  if (kind != &pd::btree_node_kind) return false;
  const pd::node_view node(b);
  const bool has_large_counts = node.is_leaf() && !pd::validate_node(b, sizeof(pd::le32));
  return node.size() > 0 && !has_large_counts;
}

}  // namespace era
