// SPDX-License-Identifier: GPL-3.0-or-later
// 1. Lays out the writesets, the current writeset and the era array in ascending block numbers.
// 2. Lays out the space map, which also counts its own blocks.
// 3. Writes the superblock. Independent of persistent-data/write.
#include "era/testing/image_builder.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "era/format/writeset.h"
#include "persistent-data/format/array_block.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/format/space_map.h"

namespace era::test {
namespace {

void require(bool done, const char* what) {
  if (done) return;
  std::perror(what);
  std::abort();
}

// Everything that is built is used once: all counts are one.
class builder {
 public:
  builder(int fd, const metadata_description& d) : fd_(fd), d_(d) {}

  void build() {
    pd::block b{};
    auto& sb = b.as<superblock>();
    sb.magic = superblock_magic;
    sb.version = superblock_version;
    sb.data_block_size = d_.data_block_size;
    sb.metadata_block_size = sectors_per_metadata_block;
    sb.nr_blocks = d_.nr_blocks;
    sb.current_era = d_.current_era;
    sb.writeset_tree_root = build_writesets();
    if (d_.current) {
      sb.current_nr_bits = d_.current->nr_bits;
      sb.current_root = build_bitset(*d_.current);
    }
    sb.era_array_root = build_array<pd::le32>(
        d_.nr_blocks, [this](std::uint64_t i) { return pd::le32(d_.era_of(i)); });
    build_space_map(sb.space_map);
    write(superblock_kind, b, superblock_location.value);
  }

 private:
  template <class Value>
  using entries = std::vector<std::pair<std::uint64_t, Value>>;

  void write(const pd::block_kind& kind, pd::block& b, std::uint64_t where) {
    pd::prepare_for_write(kind, b, {where});
    require(::pwrite(fd_, &b, sizeof b, static_cast<off_t>(where * sizeof b)) == sizeof b,
            "pwrite");
  }

  template <class Value>
  std::uint64_t build_node(std::uint32_t flags, const std::pair<std::uint64_t, Value>* first,
                           std::size_t count) {
    pd::block b{};
    auto& header = b.as<pd::node_header>();
    header.flags = flags;
    header.nr_entries = static_cast<std::uint32_t>(count);
    header.max_entries = pd::max_node_entries(sizeof(Value));
    header.value_size = sizeof(Value);
    auto* keys = reinterpret_cast<pd::le64*>(b.bytes.data() + sizeof header);
    auto* values = reinterpret_cast<Value*>(keys + header.max_entries);
    for (std::size_t i = 0; i < count; ++i) {
      keys[i] = first[i].first;
      values[i] = first[i].second;
    }
    write(pd::btree_node_kind, b, next_);
    return next_++;
  }

  template <class Value>
  std::uint64_t build_tree(const entries<Value>& leaves, std::uint32_t flags = pd::leaf_node) {
    const std::size_t room = pd::max_node_entries(sizeof(Value));
    if (leaves.size() <= room) return build_node(flags, leaves.data(), leaves.size());
    entries<pd::le64> parents;
    for (std::size_t i = 0; i < leaves.size(); i += room)
      parents.emplace_back(leaves[i].first,
                           build_node(flags, &leaves[i], std::min(room, leaves.size() - i)));
    return build_tree(parents, pd::internal_node);
  }

  template <class Value>
  std::uint64_t build_array(std::uint64_t nr_values,
                            const std::function<Value(std::uint64_t)>& value_of) {
    const std::uint64_t room = pd::max_array_entries(sizeof(Value));
    entries<pd::le64> blocks;
    for (std::uint64_t begin = 0; begin < nr_values; begin += room) {
      const std::uint64_t count = std::min(room, nr_values - begin);
      pd::block b{};
      auto& header = b.as<pd::array_header>();
      header.max_entries = static_cast<std::uint32_t>(room);
      header.nr_entries = static_cast<std::uint32_t>(count);
      header.value_size = sizeof(Value);
      auto* values = reinterpret_cast<Value*>(b.bytes.data() + sizeof header);
      for (std::uint64_t i = 0; i < count; ++i) values[i] = value_of(begin + i);
      write(pd::array_block_kind, b, next_);
      blocks.emplace_back(begin / room, next_++);
    }
    return build_tree(blocks);
  }

  std::uint64_t build_bitset(const writeset_description& ws) {
    return build_array<pd::le64>(bitset_words(ws.nr_bits), [&](std::uint64_t w) {
      std::uint64_t word = 0;
      for (std::uint64_t i = 0; i < bits_per_word; ++i)
        if (w * bits_per_word + i < ws.nr_bits && ws.is_set(w * bits_per_word + i))
          word |= std::uint64_t{1} << i;
      return pd::le64(word);
    });
  }

  std::uint64_t build_writesets() {
    entries<writeset_value> values;
    for (const writeset_description& ws : d_.archived)
      values.emplace_back(ws.era, writeset_value{ws.nr_bits, build_bitset(ws)});
    return build_tree(values);
  }

  // The space map counts its own blocks: how many bitmaps there are decides how many blocks there
  // are to count.
  void build_space_map(pd::disk_sm_root& root) {
    const std::uint64_t before = next_;
    std::uint64_t bitmaps = 1;
    while (pd::bitmaps_for(before + bitmaps + 2 + d_.spare_blocks) > bitmaps) ++bitmaps;
    const std::uint64_t used = before + bitmaps + 2, total = used + d_.spare_blocks;
    require(bitmaps <= pd::max_bitmaps, "more metadata than a space map can count");

    pd::block index{};
    for (std::uint64_t i = 0; i < bitmaps; ++i) {
      pd::block b{};
      auto& bitmap = b.as<pd::bitmap_block>();
      const std::uint64_t begin = i * pd::counts_per_bitmap;
      const auto here = static_cast<std::uint32_t>(
          std::min<std::uint64_t>(pd::counts_per_bitmap, used > begin ? used - begin : 0));
      for (std::uint32_t k = 0; k < here; ++k) pd::set_count(bitmap, k, 1);
      write(pd::space_map_bitmap_kind, b, next_);
      index.as<pd::index_block>().entries[i] = {next_++, pd::counts_per_bitmap - here, here};
    }
    write(pd::space_map_index_kind, index, next_);
    root.bitmap_root = next_++;
    root.ref_count_root = build_tree(entries<pd::le32>{});
    require(next_ == used, "the space map's size was misjudged");
    root.nr_blocks = total;
    root.nr_allocated = used;
    require(::ftruncate(fd_, static_cast<off_t>(total * pd::block_size)) == 0, "ftruncate");
  }

  int fd_;
  const metadata_description& d_;
  std::uint64_t next_ = 1;
};

}  // namespace

built_metadata::built_metadata(const metadata_description& d)
    : fd_(::memfd_create("metadata", MFD_CLOEXEC)), path_(fmt::format("/proc/self/fd/{}", fd_)) {
  require(fd_ >= 0, "memfd_create");
  builder(fd_, d).build();
}

built_metadata::~built_metadata() { ::close(fd_); }

pd::block built_metadata::read(pd::block_nr where) const {
  pd::block b;
  require(::pread(fd_, &b, sizeof b, static_cast<off_t>(where.value * sizeof b)) == sizeof b,
          "pread");
  return b;
}

void built_metadata::write(pd::block_nr where, const pd::block& b) {
  require(::pwrite(fd_, &b, sizeof b, static_cast<off_t>(where.value * sizeof b)) == sizeof b,
          "pwrite");
}

superblock built_metadata::read_superblock() const {
  return read(superblock_location).as<superblock>();
}

pd::block_nr hold_snapshot(built_metadata& m) {
  const pd::block_nr where{m.read_superblock().space_map.nr_allocated};
  pd::block copy = m.read(superblock_location);
  pd::prepare_for_write(superblock_kind, copy, where);
  m.write(where, copy);
  change(m, superblock_kind, superblock_location.value,
         [&](pd::block& b) { b.as<superblock>().metadata_snap = where.value; });
  return where;
}

void drop_snapshot(built_metadata& m) {
  change(m, superblock_kind, superblock_location.value,
         [](pd::block& b) { b.as<superblock>().metadata_snap = 0; });
}

}  // namespace era::test
