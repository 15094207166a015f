// SPDX-License-Identifier: GPL-3.0-or-later
// The device is a memory file that is mapped shared. A layout takes its blocks in ascending order,
// builds trees from the leaves up, and counts in the space map what was taken.
#include "persistent-data/testing/scratch_device.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <system_error>

#include "persistent-data/testing/blocks.h"

namespace persistent_data::test {
namespace {

void must(bool done, const char* what) {
  if (!done) throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

scratch_device::scratch_device(std::uint64_t nr_blocks)
    : fd_(::memfd_create("scratch", MFD_CLOEXEC)),
      path_(fmt::format("/proc/self/fd/{}", fd_)),
      nr_blocks_(nr_blocks),
      mapped_blocks_(nr_blocks) {
  must(fd_ >= 0, "memfd_create");
  must(::ftruncate(fd_, static_cast<off_t>(nr_blocks * block_size)) == 0, "ftruncate");
  void* mapped = ::mmap(nullptr, nr_blocks * block_size, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_NORESERVE, fd_, 0);
  must(mapped != MAP_FAILED, "mmap");
  blocks_ = static_cast<block*>(mapped);
}

scratch_device::~scratch_device() {
  ::munmap(blocks_, mapped_blocks_ * block_size);
  ::close(fd_);
}

block& scratch_device::operator[](block_nr where) {
  assert(where.value < nr_blocks_);
  return blocks_[where.value];
}

const block& scratch_device::operator[](block_nr where) const {
  assert(where.value < nr_blocks_);
  return blocks_[where.value];
}

void scratch_device::damage_block(block_nr where) {
  (*this)[where].bytes[block_size / 2] ^= std::byte{0x10};
}

void scratch_device::cut(std::uint64_t nr_blocks) {
  assert(nr_blocks <= nr_blocks_);
  must(::ftruncate(fd_, static_cast<off_t>(nr_blocks * block_size)) == 0, "ftruncate");
  nr_blocks_ = nr_blocks;
}

layout::layout(scratch_device& device) : device_(device), counts_(device.nr_blocks()) {
  counts_[0] = 1;
}

block_nr layout::take() {
  if (next_ == device_.nr_blocks()) throw std::length_error("the scratch device is full");
  counts_[next_] = 1;
  return {next_++};
}

laid_tree layout::btree(std::span<const std::uint64_t> keys, std::span<const std::byte> values,
                        std::uint32_t value_size, node_fill fill) {
  const std::uint32_t per_leaf =
      fill.leaf_entries ? fill.leaf_entries : max_node_entries(value_size);
  const std::uint32_t per_node = fill.children ? fill.children : max_node_entries(child_size);
  assert(per_node > 1);
  // The nodes of the level that was laid last: the lowest key of each, and where it is.
  std::vector<std::uint64_t> lowest;
  std::vector<block_nr> nodes;
  for (std::size_t i = 0; i < keys.size() || nodes.empty(); i += per_leaf) {
    const std::size_t n = std::min<std::size_t>(per_leaf, keys.size() - i);
    const block_nr where = take();
    device_[where] = make_node(where, leaf_node,
                               {keys.begin() + static_cast<std::ptrdiff_t>(i),
                                keys.begin() + static_cast<std::ptrdiff_t>(i + n)},
                               values.subspan(i * value_size, n * value_size), value_size);
    lowest.push_back(n > 0 ? keys[i] : 0);
    nodes.push_back(where);
  }

  laid_tree laid{{}, {nodes}};
  while (nodes.size() > 1) {
    std::vector<std::uint64_t> lowest_above;
    std::vector<block_nr> above;
    for (std::size_t i = 0; i < nodes.size(); i += per_node) {
      const auto begin = static_cast<std::ptrdiff_t>(i),
                 end = static_cast<std::ptrdiff_t>(std::min(i + per_node, nodes.size()));
      const block_nr where = take();
      device_[where] = make_internal(where, {lowest.begin() + begin, lowest.begin() + end},
                                     {nodes.begin() + begin, nodes.begin() + end});
      lowest_above.push_back(lowest[i]);
      above.push_back(where);
    }
    laid.levels.insert(laid.levels.begin(), above);
    lowest = std::move(lowest_above);
    nodes = std::move(above);
  }
  laid.root = nodes.front();
  return laid;
}

laid_array layout::array(std::span<const std::byte> values, std::uint32_t value_size,
                         node_fill fill) {
  const std::size_t per_block = std::size_t{max_array_entries(value_size)} * value_size;
  laid_array laid;
  std::vector<std::pair<std::uint64_t, le64>> entries;
  for (std::size_t i = 0; i < values.size(); i += per_block) {
    const block_nr where = take();
    device_[where] = make_array_block(
        where, values.subspan(i, std::min(per_block, values.size() - i)), value_size);
    entries.emplace_back(entries.size(), where.value);
    laid.blocks.push_back(where);
  }
  laid.tree = btree(entries, fill);
  return laid;
}

laid_space_map layout::space_map() {
  laid_space_map laid;
  std::vector<std::pair<std::uint64_t, le32>> large;
  for (std::uint64_t i = 0; i < counts_.size(); ++i)
    if (counts_[i] >= count_in_tree) large.emplace_back(i, counts_[i]);
  laid.large = btree(large);
  laid.index = take();
  for (std::uint32_t i = 0; i < bitmaps_for(counts_.size()); ++i) laid.bitmaps.push_back(take());

  std::vector<index_entry> entries;
  for (std::size_t i = 0; i < laid.bitmaps.size(); ++i) {
    std::vector<std::uint32_t> counts;
    for (std::size_t k = i * counts_per_bitmap;
         k < counts_.size() && counts.size() < counts_per_bitmap; ++k)
      counts.push_back(std::min(counts_[k], count_in_tree));
    device_[laid.bitmaps[i]] = make_bitmap(laid.bitmaps[i], counts);
    const auto free_here = static_cast<std::uint32_t>(std::count(counts.begin(), counts.end(), 0u));
    const auto past_end = counts_per_bitmap - static_cast<std::uint32_t>(counts.size());
    const auto first_free = std::find(counts.begin(), counts.end(), 0u) - counts.begin();
    entries.push_back(
        {laid.bitmaps[i].value, free_here + past_end, static_cast<std::uint32_t>(first_free)});
  }
  device_[laid.index] = make_index(laid.index, entries);

  const auto used =
      counts_.size() - static_cast<std::size_t>(std::count(counts_.begin(), counts_.end(), 0u));
  laid.root.nr_blocks = counts_.size();
  laid.root.nr_allocated = used;
  laid.root.bitmap_root = laid.index.value;
  laid.root.ref_count_root = laid.large.root.value;
  return laid;
}

std::string damage_log::text() const {
  std::string text;
  for (const block_error& d : all)
    text += fmt::format("{}: {} [{}, {}) {}\n", d.block, name(d.error.type), d.hidden.begin,
                        d.hidden.end, d.error.text);
  return text;
}

}  // namespace persistent_data::test
