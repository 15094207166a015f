// SPDX-License-Identifier: GPL-3.0-or-later
// Reading a space map, and checking it against itself.
#include "persistent-data/read/space_map_reader.h"

#include <algorithm>
#include <cassert>

namespace persistent_data {

std::optional<std::uint32_t> space_map::count(block_nr where) const {
  assert(where.value < nr_blocks_);
  const auto& bitmap = bitmaps_[where.value / counts_per_bitmap];
  if (!bitmap) return {};
  const std::uint32_t count =
      count_at(*bitmap, static_cast<std::uint32_t>(where.value % counts_per_bitmap));
  return count < count_in_tree ? count : large_count(where);
}

std::optional<std::uint32_t> space_map::large_count(block_nr where) const {
  const auto found = std::lower_bound(large_.begin(), large_.end(), where.value,
                                      [](const auto& entry, auto nr) { return entry.first < nr; });
  if (found == large_.end() || found->first != where.value) return {};
  return found->second;
}

class space_map_reader {
 public:
  space_map_reader(btree_walk& walk, const block_error_sink& sink) : walk_(walk), sink_(sink) {}

  space_map read(const disk_sm_root& root) {
    if (!plausible(root)) return {};
    map_.nr_blocks_ = root.nr_blocks;
    map_.bitmaps_.resize(bitmaps_for(root.nr_blocks));
    read_index({root.bitmap_root});
    read_large_counts({root.ref_count_root});
    read_bitmaps();
    compare_allocated(root.nr_allocated);
    return std::move(map_);
  }

 private:
  range blocks_of(std::size_t bitmap) const {
    return intersection({bitmap * counts_per_bitmap, (bitmap + 1) * counts_per_bitmap},
                        {0, map_.nr_blocks_});
  }

  void report(block_nr where, error_class what, std::string detail, range hidden = {}) {
    sink_({where, {what, std::move(detail)}, hidden});
  }

  bool plausible(const disk_sm_root& root) {
    const std::uint64_t nr_blocks = root.nr_blocks, room = walk_.counter().nr_blocks();
    if (nr_blocks > 0 && nr_blocks <= room) return true;
    report({0}, error_class::bad_value,
           fmt::format("the space map counts {} blocks, and there are {}", nr_blocks, room),
           {0, room});
    return false;
  }

  void read_index(block_nr where) {
    auto wrong = validate(walk_.counter().reach(std::nullopt, where), where);
    const block_nr reported = wrong ? block_nr{0} : where;
    const auto take = [&](std::size_t, const block* data, int error) {
      wrong = validate(space_map_index_kind, data, error, where);
      if (wrong) return;
      const auto* entries = data->as<index_block>().entries;
      index_.assign(entries, entries + map_.bitmaps_.size());
    };
    if (!wrong) walk_.queue().read(std::span(&where, 1), take);
    if (wrong) sink_({reported, std::move(*wrong), {0, map_.nr_blocks_}});
    index_block_ = where;
  }

  void read_bitmaps() {
    std::vector<block_nr> wanted;
    std::vector<std::size_t> numbers;
    for (std::size_t i = 0; i < index_.size(); ++i) {
      const block_nr where{index_[i].blocknr};
      if (auto wrong = validate(walk_.counter().reach(index_block_, where), where)) {
        sink_({index_block_, std::move(*wrong), blocks_of(i)});
        continue;
      }
      wanted.push_back(where);
      numbers.push_back(i);
    }
    walk_.queue().read(wanted, [&](std::size_t index, const block* data, int error) {
      const std::size_t i = numbers[index];
      if (auto wrong = validate(space_map_bitmap_kind, data, error, wanted[index]))
        return sink_({wanted[index], std::move(*wrong), blocks_of(i)});
      map_.bitmaps_[i] = data->as<bitmap_block>();
    });
    for (std::size_t i = 0; i < index_.size(); ++i)
      if (map_.bitmaps_[i]) check_bitmap(i, *map_.bitmaps_[i]);
    for (; next_large_ < map_.large_.size(); ++next_large_) stray_large(map_.large_[next_large_]);
  }

  // Bitmaps come in order, and so do the large counts: they are compared as in a merge.
  void check_bitmap(std::size_t i, const bitmap_block& bitmap) {
    const block_nr where{index_[i].blocknr};
    const range blocks = blocks_of(i);
    const auto real = static_cast<std::uint32_t>(blocks.size());
    std::uint32_t used = 0, first_free = counts_per_bitmap, past_end = 0;
    for (std::uint32_t k = 0; k < counts_per_bitmap; ++k) {
      const std::uint32_t count = count_at(bitmap, k);
      if (count == 0) {
        first_free = std::min(first_free, k);
        continue;
      }
      ++(k < real ? used : past_end);
      if (k < real && count == count_in_tree) expect_large(where, blocks.begin + k);
    }
    allocated_ += used;
    if (past_end > 0)
      report(where, error_class::bad_value,
             fmt::format("the bitmap counts references of {} blocks past the metadata's end",
                         past_end));
    check_entry(i, used, real, first_free);
  }

  // The kernel takes what lies past the device's end for free, other writers do not.
  void check_entry(std::size_t i, std::uint32_t used, std::uint32_t real,
                   std::uint32_t first_free) {
    const std::uint32_t nr_free = index_[i].nr_free, bound = index_[i].none_free_before;
    if (nr_free != real - used && nr_free != counts_per_bitmap - used)
      report(index_block_, error_class::bad_value,
             fmt::format("the index says that bitmap {} has {} free blocks, and it has {}", i,
                         nr_free, real - used));
    if (bound > first_free)
      report(index_block_, error_class::bad_value,
             fmt::format("the index says that bitmap {} has nothing free before entry {}, and "
                         "entry {} is",
                         i, bound, first_free));
  }

  void expect_large(block_nr bitmap, std::uint64_t where) {
    while (next_large_ < map_.large_.size() && map_.large_[next_large_].first < where)
      stray_large(map_.large_[next_large_++]);
    if (next_large_ < map_.large_.size() && map_.large_[next_large_].first == where) {
      ++next_large_;
      return;
    }
    // The lost ranges come in order too: a hostile tree may have thousands of them.
    while (next_lost_ < map_.large_lost_.size() && map_.large_lost_[next_lost_].end <= where)
      ++next_lost_;
    if (next_lost_ < map_.large_lost_.size() && map_.large_lost_[next_lost_].begin <= where) return;
    report(bitmap, error_class::missing,
           fmt::format("the bitmap says that the count of block {} is in the tree of large counts, "
                       "and it is not",
                       where),
           {where, where + 1});
  }

  void stray_large(std::pair<std::uint32_t, std::uint32_t> entry) {
    const auto& bitmap = map_.bitmaps_[entry.first / counts_per_bitmap];
    if (!bitmap) return;
    report(ref_count_root_, error_class::bad_value,
           fmt::format("the tree of large counts has block {}, whose bitmap says {}", entry.first,
                       count_at(*bitmap, entry.first % counts_per_bitmap)));
  }

  void read_large_counts(block_nr root) {
    ref_count_root_ = root;
    btree_events events;
    events.leaf = [&](block_nr where, const node_view& node) {
      for (std::uint32_t i = 0; i < node.size(); ++i) {
        const std::uint64_t key = node.key(i);
        const std::uint32_t count = node.value<le32>(i);
        if (key >= map_.nr_blocks_)
          return report(
              where, error_class::bad_value,
              fmt::format("the tree of large counts has block {}, past the metadata's end", key));
        if (count < count_in_tree)
          report(where, error_class::bad_value,
                 fmt::format("the tree of large counts says {} for block {}; it holds counts of {} "
                             "and more",
                             count, key, count_in_tree));
        map_.large_.emplace_back(static_cast<std::uint32_t>(key), count);
      }
    };
    events.lost = [&](range keys) { map_.large_lost_.push_back(keys); };
    events.damaged = [&](const block_error& d) {
      sink_({d.block, d.error, intersection(d.hidden, {0, map_.nr_blocks_})});
    };
    walk_.walk(std::nullopt, root, sizeof(le32), events);
  }

  // If a bitmap is lost, there is nothing to compare with.
  void compare_allocated(std::uint64_t nr_allocated) {
    for (const auto& bitmap : map_.bitmaps_)
      if (!bitmap) return;
    if (nr_allocated != allocated_)
      report(
          {0}, error_class::bad_value,
          fmt::format("the superblock says that {} blocks are in use, and the space map counts {}",
                      nr_allocated, allocated_));
  }

  btree_walk& walk_;
  const block_error_sink& sink_;
  space_map map_;
  std::vector<index_entry> index_;
  block_nr index_block_, ref_count_root_;
  std::size_t next_large_ = 0, next_lost_ = 0;
  std::uint64_t allocated_ = 0;
};

space_map read_space_map(btree_walk& walk, const disk_sm_root& root, const block_error_sink& sink) {
  return space_map_reader(walk, sink).read(root);
}

}  // namespace persistent_data
