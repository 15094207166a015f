// SPDX-License-Identifier: GPL-3.0-or-later
// From a superblock to the lists of what it reaches.
#include "era/metadata/metadata.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <numeric>
#include <thread>
#include <utility>

namespace era {
namespace {

using pd::error_class;

// A torn superblock is whole again as soon as the kernel's write has ended.
constexpr int torn_reads = 10;
constexpr auto torn_pause = std::chrono::milliseconds(20);

constexpr pd::range every_origin_block{0, max_origin_blocks};

struct superblock_read {
  superblock sb;
  std::optional<pd::error_detail> wrong;
};

superblock_read read_once(pd::read_queue& queue, pd::block_nr where) {
  superblock_read result{};
  queue.read(std::span(&where, 1), [&](std::size_t, const pd::block* data, int error) {
    if (data) {
      result.sb = data->as<superblock>();
      result.wrong = validate_superblock(*data, where);
    } else {
      result.wrong = pd::validate(superblock_kind, data, error, where);
    }
  });
  return result;
}

// The writeset tree, entry by entry. The bitsets are mapped after the walk: a walk is not entered
// twice.
class writeset_mapper {
 public:
  writeset_mapper(pd::btree_walk& walk, const superblock& sb, metadata& m, const finding_sink& sink)
      : walk_(walk), sb_(sb), m_(m), sink_(sink) {}

  void map_archived() {
    pd::btree_events events;
    events.leaf = [&](pd::block_nr where, const pd::node_view& node) { leaf(where, node); };
    events.lost = [](pd::range) {};  // the damage itself says what it hides
    events.damaged = sink_of(tree_, sink_, 1, std::numeric_limits<std::uint64_t>::max());
    walk_.walk(std::nullopt, {sb_.writeset_tree_root}, sizeof(writeset_value), events);
    for (std::size_t mapped = 0; !entries_.empty(); entries_.pop_front(), ++mapped) {
      if (mapped % roots_ahead == 0) prefetch_roots();
      const entry& e = entries_.front();
      map(pd::block_nr{e.leaf}, {.bits = {}, .era = e.era, .nr_bits = e.nr_bits}, {e.root});
    }
  }

  void map_current() {
    if (m_.in_snapshot() || sb_.current_root == 0) return;
    map(std::nullopt,
        {.bits = {}, .era = {sb_.current_era}, .nr_bits = sb_.current_nr_bits, .is_current = true},
        {sb_.current_root});
  }

 private:
  static constexpr std::size_t roots_ahead = 256;

  struct entry {
    std::uint64_t root;
    std::uint32_t leaf;
    era_nr era;
    std::uint32_t nr_bits;
  };

  // The next bitsets are walked one after the other.
  void prefetch_roots() {
    std::vector<pd::block_nr> roots;
    for (std::size_t i = 0; i < std::min(roots_ahead, entries_.size()); ++i)
      roots.push_back({entries_[i].root});
    walk_.queue().prefetch(roots);
  }

  void leaf(pd::block_nr where, const pd::node_view& node) {
    for (std::uint32_t i = 0; i < node.size(); ++i) {
      const auto& value = node.value<writeset_value>(i);
      if (!plausible_era(where, node.key(i))) continue;
      const era_nr era{static_cast<std::uint32_t>(node.key(i))};
      // Each has a bitset of its own: there cannot be more of them than blocks.
      if (entries_.size() == walk_.counter().nr_blocks()) {
        sink_({tree_,
               pd::one_block(where),
               {error_class::bad_shape, "there are more writesets than blocks"},
               {node.key(i), std::uint64_t{sb_.current_era} + 1}});
        return;
      }
      entries_.push_back({value.root, static_cast<std::uint32_t>(where.value), era, value.nr_bits});
    }
  }

  // The current writeset is archived under current_era; while there is one (and in a snapshot,
  // which was taken with one) the tree holds only older eras. Writesets are kept whatever is wrong:
  // what they list was written.
  bool plausible_era(pd::block_nr where, std::uint64_t era) {
    const std::uint64_t current = sb_.current_era;
    if (era == 0) {
      sink_({tree_,
             pd::one_block(where),
             {error_class::bad_value, "there is a writeset of era 0; the first era is 1"},
             {0, 1}});
    } else if (era > current) {
      sink_(
          {tree_,
           pd::one_block(where),
           {error_class::bad_value,
            fmt::format("there is a writeset of era {}, and the current era is {}", era, current)},
           {era, era + 1}});
    } else if (era == current && (m_.in_snapshot() || sb_.current_root != 0)) {
      sink_({tree_,
             pd::one_block(where),
             {error_class::bad_value,
              fmt::format("there is an archived writeset of era {}, which is still the current one",
                          era)},
             {era, era + 1}});
    }
    return era <= std::numeric_limits<std::uint32_t>::max();
  }

  void map(std::optional<pd::block_nr> from, writeset ws, pd::block_nr root) {
    const place where = m_.place_of(ws);
    if (ws.nr_bits > max_origin_blocks)
      sink_({where,
             pd::one_block(from.value_or(m_.location)),
             {error_class::bad_value,
              fmt::format("it has {} bits; there can be {}", ws.nr_bits, max_origin_blocks)},
             {0, sb_.nr_blocks}});
    const pd::array_shape words{bitset_words(ws.nr_bits), sizeof(pd::le64)};
    ws.bits = pd::array_map(words);
    if (has_room_for(ws.bits)) {
      ws.bits =
          pd::map_array(walk_, from, root, words, sink_of(where, sink_, bits_per_word, ws.nr_bits));
      mapped_ += ws.bits.known_end();
    } else {
      sink_({where,
             pd::one_block(from.value_or(m_.location)),
             {error_class::bad_shape,
              fmt::format("its bitset needs {} blocks, and the metadata has {}, of "
                          "which other writesets own {}",
                          ws.bits.nr_blocks(), walk_.counter().nr_blocks(), mapped_)},
             {0, ws.nr_bits}});
    }
    m_.writesets.push_back(std::move(ws));
  }

  // Whether it fits at all is told by map_array; here it has to fit beside the others. Without
  // this, thousands of writesets that claim the whole device each, and are mostly holes, would take
  // memory for it each.
  bool has_room_for(const pd::array_map& bits) const {
    const std::uint64_t all = walk_.counter().nr_blocks();
    return bits.nr_blocks() > all || bits.nr_blocks() <= all - mapped_;
  }

  pd::btree_walk& walk_;
  const superblock& sb_;
  metadata& m_;
  const finding_sink& sink_;
  const place tree_ = m_.place_of(part::writeset_tree);
  std::deque<entry> entries_;
  std::uint64_t mapped_ = 0;  // blocks of the lists so far
};

// Writesets of the same length stay in order.
std::vector<std::uint32_t> order_by_length(const std::deque<writeset>& writesets) {
  std::vector<std::uint32_t> order(writesets.size());
  std::iota(order.begin(), order.end(), 0u);
  const auto blocks = [&](std::uint32_t i) { return writesets[i].bits.known_end(); };
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return blocks(a) != blocks(b) ? blocks(a) > blocks(b) : a < b;
  });
  return order;
}

}  // namespace

std::span<const std::uint32_t> metadata::writesets_at(std::uint64_t stripe) const noexcept {
  const auto end =
      std::partition_point(longest_first.begin(), longest_first.end(),
                           [&](std::uint32_t i) { return writesets[i].bits.known_end() > stripe; });
  return {longest_first.begin(), end};
}

void metadata::resolve() {
  for (const writeset& ws : writesets)
    if (const std::uint64_t known = ws.bits.known_end(); known < ws.bits.nr_blocks())
      lost.ranges.add(ws.era.value, {known * bits_per_bitset_block, ws.nr_bits}, nr_blocks);
  const auto is_older = [](const writeset& a, const writeset& b) { return a.era < b.era; };
  if (!std::is_sorted(writesets.begin(), writesets.end(), is_older))
    std::sort(writesets.begin(), writesets.end(), is_older);
  lost.ranges.resolve();
  longest_first = order_by_length(writesets);
}

std::optional<superblock> read_superblock(pd::read_queue& queue, std::uint64_t nr_metadata_blocks,
                                          pd::block_nr where, superblock_reading how,
                                          const finding_sink& sink) {
  const bool is_copy = where != superblock_location;
  const place here{part::superblock, {}, is_copy};
  superblock_read read = read_once(queue, where);
  const int most = how == superblock_reading::until_whole ? torn_reads : 1;
  for (int i = 1; read.wrong && i < most; ++i) {
    std::this_thread::sleep_for(torn_pause);
    read = read_once(queue, where);
  }
  if (read.wrong) {
    sink({here, pd::one_block(where), std::move(*read.wrong), every_origin_block});
    return {};
  }
  const auto copy = is_copy ? superblock_copy::of_snapshot : superblock_copy::live;
  for (pd::error_detail& wrong : check_superblock(read.sb, nr_metadata_blocks, copy))
    sink({here, pd::one_block(where), std::move(wrong), {}});
  return read.sb;
}

std::optional<superblock> read_snapshot_superblock(pd::read_queue& queue,
                                                   std::uint64_t nr_metadata_blocks,
                                                   const superblock& live,
                                                   const finding_sink& sink) {
  const pd::block_nr where{live.metadata_snap};
  const place here{part::superblock, {}, true};
  if (where.value >= nr_metadata_blocks) return {};  // reported with the live superblock
  auto snap = read_superblock(queue, nr_metadata_blocks, where, superblock_reading::once, sink);
  if (!snap) return {};
  const auto implausible = [&](std::string detail) {
    sink({here, pd::one_block(where), {error_class::bad_value, std::move(detail)}, {}});
  };
  if (snap->current_era > live.current_era)
    implausible(fmt::format("its era {} is past the live era {}", std::uint32_t{snap->current_era},
                            std::uint32_t{live.current_era}));
  if (snap->data_block_size != live.data_block_size)
    implausible(fmt::format("its block size is {} sectors, and the live one {}",
                            std::uint32_t{snap->data_block_size},
                            std::uint32_t{live.data_block_size}));
  return snap;
}

metadata map_metadata(pd::btree_walk& walk, source from, pd::block_nr location,
                      const superblock& sb, const finding_sink& sink) {
  metadata m;
  m.from = from;
  m.location = location;
  m.csum = sb.csum;
  m.block_size = sb.data_block_size;
  m.nr_blocks = sb.nr_blocks;
  m.current_era = m.least_current_era = m.newest_possible = {sb.current_era};
  m.uuid = sb.uuid;
  writeset_mapper writesets(walk, sb, m, sink);
  writesets.map_archived();
  writesets.map_current();
  m.longest_first = order_by_length(m.writesets);
  // A current writeset begins with each size: it confirms the superblock's number of blocks.
  const auto past_end = sb.current_nr_bits == sb.nr_blocks ? pd::surplus_blocks::left_by_shrinking
                                                           : pd::surplus_blocks::damage;
  m.eras = pd::map_array(walk, std::nullopt, {sb.era_array_root}, {sb.nr_blocks, sizeof(pd::le32)},
                         sink_of(m.place_of(part::era_array), sink, 1, sb.nr_blocks), past_end);
  return m;
}

void require_snapshot(const pd::block_device& device, const superblock& live) {
  if (live.metadata_snap == 0)
    throw pd::device_error(
        fmt::format("{}: holds no metadata snapshot; take one with: dmsetup message "
                    "DEVICE 0 take_metadata_snap",
                    device.path()));
}

void require_still_held(const pd::block_device& device, pd::block_nr snapshot,
                        std::optional<std::uint32_t> csum) {
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  const auto read = [&](pd::block_nr where, superblock_reading how) {
    return read_superblock(queue, device.nr_blocks(), where, how, ignore_findings);
  };
  const auto live = read(superblock_location, superblock_reading::until_whole);
  if (!live)
    throw pd::device_error(fmt::format(
        "{}: the superblock cannot be read again: the metadata snapshot may have been dropped "
        "meanwhile, and what was found does not count",
        device.path()));
  if (live->metadata_snap == snapshot.value) {
    if (!csum) return;
    const auto snap = read(snapshot, superblock_reading::once);
    if (snap && snap->csum == *csum) return;
  }
  throw pd::device_error(fmt::format(
      "{}: the metadata snapshot was dropped while it was read: what was found does not count",
      device.path()));
}

void require_still_held(const pd::block_device& device, const metadata& m) {
  if (m.in_snapshot()) require_still_held(device, m.location, m.csum);
}

}  // namespace era
