// SPDX-License-Identifier: GPL-3.0-or-later
// From the tree over an array's blocks to their list.
#include "persistent-data/read/array_map.h"

#include <algorithm>
#include <cassert>

namespace persistent_data {

std::optional<error_detail> array_map::validate_block(std::uint64_t i,
                                                      const persistent_data::block* data,
                                                      int error) const {
  assert(block(i));
  if (auto wrong = validate(array_block_kind, data, error, *block(i))) return wrong;
  return validate_array_block(*data, value_size_, static_cast<std::uint32_t>(values_of(i).size()));
}

// The tree's keys have to be 0, 1, 2, ...: what comes next is known all the time.
class array_mapper {
 public:
  array_mapper(array_map& map, reference_counter& counter, block_nr root,
               const block_error_sink& sink, surplus_blocks past_end)
      : map_(map), counter_(counter), root_(root), sink_(sink), past_end_(past_end) {}

  void leaf(block_nr where, const node_view& node) {
    for (std::uint32_t i = 0; i < node.size(); ++i) {
      const std::uint64_t key = node.key(i);
      if (key >= map_.nr_blocks()) return surplus(where, node, i);
      missing(where, key);
      assert(key == next_);
      add(where, node.value<le64>(i));
    }
  }

  void lost(range keys) {
    missing(root_, std::min(keys.begin, map_.nr_blocks()));
    skip_to(std::min(keys.end, map_.nr_blocks()));
  }

  void damaged(const block_error& d) const {
    sink_({d.block, d.error, values({d.hidden.begin, std::min(d.hidden.end, map_.nr_blocks())})});
  }

  void finish() {
    missing(root_, map_.nr_blocks());
    if (blocks_.empty()) return;
    map_.known_end_ = static_cast<std::uint32_t>(blocks_.size());
    map_.blocks_.reset(new std::uint32_t[blocks_.size()]);
    std::copy(blocks_.begin(), blocks_.end(), map_.blocks_.get());
  }

 private:
  range values(range blocks) const {
    if (blocks.empty()) return {};
    return {map_.values_of(blocks.begin).begin, map_.values_of(blocks.end - 1).end};
  }

  void add(block_nr where, std::uint64_t pointer) {
    const block_nr block{pointer};
    if (auto wrong = validate(counter_.reach(where, block), block)) {
      sink_({where, std::move(*wrong), values({next_, next_ + 1})});
    } else {
      blocks_.resize(next_);  // if a gap comes before it
      blocks_.push_back(static_cast<std::uint32_t>(pointer));
    }
    ++next_;
  }

  void missing(block_nr where, std::uint64_t key) {
    const range gap{next_, key};
    if (gap.empty()) return;
    sink_({where,
           {error_class::missing,
            fmt::format("the array has {} blocks, and {} of them from index {} are "
                        "not in its tree",
                        map_.nr_blocks(), gap.size(), gap.begin)},
           values(gap)});
    skip_to(key);
  }

  // Blocks past the array's end; referred to all the same.
  void surplus(block_nr where, const node_view& node, std::uint32_t first) const {
    for (std::uint32_t i = first; i < node.size(); ++i) {
      const block_nr block{node.value<le64>(i)};
      auto wrong = validate(counter_.reach(where, block), block);
      if (wrong && past_end_ == surplus_blocks::left_by_shrinking)
        sink_({where, std::move(*wrong), {}});
    }
    if (past_end_ == surplus_blocks::left_by_shrinking) return;
    sink_({where,
           {error_class::bad_shape,
            fmt::format("the array's tree has a block of index {}, and {} values "
                        "need only {}",
                        node.key(first), map_.nr_values(), map_.nr_blocks())},
           {}});
  }

  void skip_to(std::uint64_t key) { next_ = std::max(next_, key); }

  array_map& map_;
  reference_counter& counter_;
  block_nr root_;
  const block_error_sink& sink_;
  const surplus_blocks past_end_;
  std::uint64_t next_ = 0;
  std::vector<std::uint32_t> blocks_;
};

array_map map_array(btree_walk& walk, std::optional<block_nr> from, block_nr root,
                    array_shape shape, const block_error_sink& sink, surplus_blocks past_end) {
  array_map map(shape);
  // Nothing may be sized by a count that the device cannot hold.
  if (map.nr_blocks() > walk.counter().nr_blocks()) {
    sink({from.value_or(block_nr{0}),
          {error_class::bad_value,
           fmt::format("an array of {} values needs {} blocks, and the metadata has {}",
                       shape.nr_values, map.nr_blocks(), walk.counter().nr_blocks())},
          {0, shape.nr_values}});
    return map;
  }
  array_mapper mapper(map, walk.counter(), root, sink, past_end);
  btree_events events;
  events.leaf = [&](block_nr where, const node_view& node) { mapper.leaf(where, node); };
  events.lost = [&](range keys) { mapper.lost(keys); };
  events.damaged = [&](const block_error& d) { mapper.damaged(d); };
  walk.walk(from, root, sizeof(le64), events);
  mapper.finish();
  return map;
}

namespace {

// An array of one block.
std::optional<array_shape> measure_block(btree_walk& walk, block_nr where) {
  std::optional<array_shape> result;
  walk.queue().read(std::span(&where, 1), [&](std::size_t, const block* data, int error) {
    if (validate(array_block_kind, data, error, where)) return;
    const auto& header = data->as<array_header>();
    const std::uint32_t size = header.value_size, entries = header.nr_entries;
    if ((size == sizeof(le32) || size == sizeof(le64)) && entries != 0 &&
        is_array_block_of(*data, size))
      result = array_shape{entries, size};
  });
  return result;
}

}  // namespace

std::optional<array_shape> measure_array(btree_walk& walk, block_nr root,
                                         std::optional<std::uint64_t> expected) {
  const std::uint64_t needed = expected ? array_blocks_for(*expected, sizeof(le32)) : 0;
  std::uint64_t blocks = 0;
  block_nr last, last_needed;
  bool sound = true, has_needed = needed > 0;
  const auto lose = [&] {
    sound = false;
    has_needed = has_needed && blocks >= needed;
  };
  btree_events events;
  events.leaf = [&](block_nr, const node_view& node) {
    for (std::uint32_t i = 0; i < node.size(); ++i) {
      last = {node.value<le64>(i)};
      if (node.key(i) != blocks || walk.counter().reach(std::nullopt, last) != reach_result::first)
        lose();
      if (++blocks == needed) last_needed = last;
    }
  };
  events.lost = [&](range) { lose(); };
  events.damaged = [&](const block_error&) { lose(); };
  walk.walk(std::nullopt, root, sizeof(le64), events);
  if (has_needed && blocks > needed) {
    const auto in_block = *expected - (needed - 1) * max_array_entries(sizeof(le32));
    const auto ends = measure_block(walk, last_needed);
    if (ends && ends->value_size == sizeof(le32) && ends->nr_values == in_block)
      return array_shape{*expected, sizeof(le32)};
  }
  if (!sound) return {};
  if (blocks == 0) return array_shape{};
  auto result = measure_block(walk, last);
  if (result) result->nr_values += (blocks - 1) * max_array_entries(result->value_size);
  return result;
}

}  // namespace persistent_data
