// SPDX-License-Identifier: GPL-3.0-or-later
// Writes to blocks without a mark wait in a list, and share a commit that marks them all. The marks
// in memory are set after the commit, and the origin is written after the marks.
#include "era/dm_target/target.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cctype>
#include <exception>
#include <utility>

#include "era/text/printable.h"
#include "persistent-data/format/bits.h"
#include "persistent-data/transaction/bitset.h"

namespace era {
namespace {

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

std::uint32_t count_blocks(std::uint64_t sectors, std::uint32_t block_size) {
  const std::uint64_t blocks = blocks_for(sectors, block_size);
  if (blocks > max_origin_blocks)
    throw pd::invalid_input(
        fmt::format("{} sectors are {} blocks; there can be {}: take larger ones", sectors, blocks,
                    max_origin_blocks));
  return static_cast<std::uint32_t>(blocks);
}

// Refuses what cannot be, before the metadata is touched.
const target::geometry& checked(const target::geometry& g) {
  if (!is_possible_block_size(g.block_size))
    throw pd::invalid_input(fmt::format(
        "a block size of {} sectors cannot be; it is a multiple of 8 above 0", g.block_size));
  count_blocks(g.length, g.block_size);
  return g;
}

}  // namespace

struct target::waiting_write {
  origin_range blocks;
  bool done = false;
  std::exception_ptr error;
};

target::target(pd::block_store& metadata, origin_device& origin, const geometry& g,
               std::size_t cache_blocks)
    : block_size_(g.block_size),
      length_(g.length),
      origin_(origin),
      metadata_(metadata, checked(g).block_size, cache_blocks) {}

target::~target() = default;

// --- Blocks and marks

origin_range target::blocks_of(std::uint64_t sector, std::uint64_t count) const {
  if (count > length_ || sector > length_ - count)
    throw pd::invalid_input(
        fmt::format("sectors {} to {} are past the end of the device, which has {}", sector,
                    sector + count, length_));
  if (count == 0) return {};
  return {sector / block_size_, (sector + count - 1) / block_size_ + 1};
}

void target::require_resumed() const {
  if (!resumed_) throw pd::invalid_input("the device is suspended");
}

bool target::are_marked(origin_range blocks) const noexcept {
  bool all = true;
  pd::for_each_word(blocks, [&](std::uint64_t word, std::uint64_t mask) {
    all = all && (marks_[word].load(std::memory_order_acquire) & mask) == mask;
  });
  return all;
}

void target::set_marked(origin_range blocks) noexcept {
  std::uint64_t new_marks = 0;
  pd::for_each_word(blocks, [&](std::uint64_t word, std::uint64_t mask) {
    const std::uint64_t before = marks_[word].fetch_or(mask, std::memory_order_release);
    new_marks += static_cast<std::uint64_t>(std::popcount(mask & ~before));
  });
  nr_marked_ += new_marks;
}

void target::clear_marks(std::uint32_t nr_blocks) {
  const std::uint64_t words = bitset_words(nr_blocks);
  if (marks_.size() != words)
    marks_ = std::vector<std::atomic<std::uint64_t>>(words);
  else
    for (auto& word : marks_) word.store(0, std::memory_order_relaxed);
}

std::shared_lock<std::shared_mutex> target::stay_in_era() {
  const std::lock_guard turn(turn_);
  return std::shared_lock(era_ends_);
}

std::unique_lock<std::shared_mutex> target::end_era() {
  const std::lock_guard turn(turn_);
  return std::unique_lock(era_ends_);
}

era_nr target::current_era() const {
  const std::lock_guard lock(changing_);
  return metadata_.current_era();
}

std::uint32_t target::nr_blocks() const {
  const std::lock_guard lock(changing_);
  return metadata_.nr_blocks();
}

void target::mark(origin_range blocks) {
  waiting_write own{blocks, false, nullptr};
  mark({&own, 1});
  if (own.error) std::rethrow_exception(own.error);
}

// On disk first, then in memory: a write that finds the mark goes straight to the origin. Each of
// them is done then, or has an error.
void target::mark(std::span<waiting_write> own) {
  if (own.empty()) return;
  {
    const std::lock_guard lock(waiting_mutex_);
    waiting_.reserve(waiting_.size() + own.size());  // all of them or none
    for (waiting_write& w : own) waiting_.push_back(&w);
  }
  const std::lock_guard lock(changing_);
  // They are taken from the list together.
  if (!own.front().done) {
    std::vector<waiting_write*> together;
    {
      const std::lock_guard waiting(waiting_mutex_);
      together.swap(waiting_);
    }
    // Neighbours share bitset blocks: so each half of a group that is divided needs fewer.
    std::ranges::sort(together, {}, [](const waiting_write* w) { return w->blocks.begin; });
    mark_together(together);
  }
  assert(own.front().done && own.back().done);
}

// Writes that cannot be marked in one commit are divided until each fails or succeeds for a reason
// of its own: no space for all of them, or damage that only some of them need.
void target::mark_together(std::span<waiting_write* const> writes) {
  std::exception_ptr error;
  try {
    if (writes.size() == 1) {
      mark_in_parts(writes.front()->blocks);
    } else {
      std::vector<origin_range> blocks;
      for (const waiting_write* w : writes) blocks.push_back(w->blocks);
      mark_in_one_commit(blocks);
    }
  } catch (...) {
    error = std::current_exception();
  }
  if (error && writes.size() > 1 && !metadata_.has_failed()) {
    const std::size_t half = writes.size() / 2;
    mark_together(writes.first(half));
    mark_together(writes.subspan(half));
    return;
  }
  for (waiting_write* w : writes) {
    w->error = error;
    w->done = true;
  }
}

// If there is no space for all blocks in one commit: first one half of the bitset blocks, then the
// other half, since a commit frees the blocks that it replaces. Marks stay when a later part fails.
void target::mark_in_parts(origin_range blocks) {
  const std::uint64_t first = blocks.begin / bits_per_bitset_block;
  const std::uint64_t last = (blocks.end - 1) / bits_per_bitset_block;
  try {
    mark_in_one_commit({&blocks, 1});
    return;
  } catch (const pd::no_space&) {
    if (first == last) throw;
  }
  const std::uint64_t middle = (first + (last - first + 1) / 2) * bits_per_bitset_block;
  mark_in_parts({blocks.begin, middle});
  mark_in_parts({middle, blocks.end});
}

// Commits nothing if a write before has marked the blocks.
void target::mark_in_one_commit(std::span<const origin_range> blocks) {
  std::vector<origin_range> parts;
  for (const origin_range each : blocks)
    pd::bitset::for_each_block(each, [&](origin_range part) {
      if (!are_marked(part)) parts.push_back(part);
    });
  if (parts.empty()) return;
  metadata_.mark(parts);
  for (const origin_range part : parts) set_marked(part);
}

// --- What the device is asked for

// A request that changes the origin: it goes on when its blocks are marked, and the era does not
// end before it is done.
template <class Request>
void target::mark_and_do(std::uint64_t sector, std::uint64_t count, const Request& request) {
  const auto lock = stay_in_era();
  require_resumed();
  const origin_range blocks = blocks_of(sector, count);
  if (!are_marked(blocks)) mark(blocks);
  request();
}

void target::write(std::uint64_t sector, std::uint64_t count, const std::byte* data) {
  mark_and_do(sector, count, [&] { origin_.write(sector, count, data); });
}

void target::write(std::uint64_t sector, std::uint64_t count,
                   const std::function<void()>& write_origin) {
  mark_and_do(sector, count, write_origin);
}

void target::write_together(std::span<const extent> writes,
                            const std::function<void(std::size_t)>& write_origin) {
  const auto lock = stay_in_era();
  require_resumed();
  std::vector<waiting_write> unmarked;
  std::vector<std::size_t> index;
  for (std::size_t i = 0; i < writes.size(); ++i) {
    const origin_range blocks = blocks_of(writes[i].sector, writes[i].count);
    if (are_marked(blocks)) continue;
    unmarked.push_back({blocks, false, nullptr});
    index.push_back(i);
  }
  mark(unmarked);
  std::exception_ptr first;
  std::size_t next = 0;
  for (std::size_t i = 0; i < writes.size(); ++i) {
    const bool was_unmarked = next < index.size() && index[next] == i;
    const std::exception_ptr error = was_unmarked ? unmarked[next++].error : nullptr;
    if (!error)
      write_origin(i);
    else if (!first)
      first = error;
  }
  if (first) std::rethrow_exception(first);
}

void target::discard(std::uint64_t sector, std::uint64_t count) {
  mark_and_do(sector, count, [&] { origin_.discard(sector, count); });
}

void target::read(std::uint64_t sector, std::uint64_t count, std::byte* data) {
  const auto lock = stay_in_era();
  require_resumed();
  blocks_of(sector, count);
  origin_.read(sector, count, data);
}

void target::flush() { origin_.flush(); }

void target::set_length(std::uint64_t sectors) {
  const auto lock = end_era();
  if (resumed_) throw pd::invalid_input("the length is changed while the device is suspended");
  count_blocks(sectors, block_size_);
  length_ = sectors;
}

void target::resume() {
  const auto lock = end_era();
  const std::lock_guard changing(changing_);
  if (resumed_) return;
  const std::uint32_t nr_blocks = count_blocks(length_, block_size_);
  metadata_.begin_era_of(nr_blocks);
  clear_marks(nr_blocks);
  resumed_ = true;
}

void target::suspend() {
  const auto lock = end_era();
  const std::lock_guard changing(changing_);
  if (!resumed_) return;
  metadata_.archive();
  resumed_ = false;
}

void target::message(std::string_view text) {
  const std::string word = lower_case(text);
  const bool checkpoint = word == "checkpoint";
  if (!checkpoint && word != "take_metadata_snap" && word != "drop_metadata_snap")
    throw pd::invalid_input(
        fmt::format("there is no message '{}'; there are checkpoint, take_metadata_snap "
                    "and drop_metadata_snap",
                    printable(text)));
  const auto lock = end_era();
  const std::lock_guard changing(changing_);
  require_resumed();
  if (word == "drop_metadata_snap") {
    metadata_.drop_snapshot();
    return;
  }
  if (!checkpoint && metadata_.snapshot())
    throw pd::invalid_input("there is a metadata snapshot already; drop it first");
  metadata_.begin_era();
  clear_marks(metadata_.nr_blocks());
  if (!checkpoint) metadata_.take_snapshot();
}

target_status target::status() {
  const std::lock_guard lock(changing_);
  // Without a change there is nothing to commit, but a reader may rely on what he is told.
  metadata_.commit_digestion();
  return {metadata_.nr_used(), metadata_.nr_metadata_blocks(), metadata_.current_era(),
          metadata_.snapshot()};
}

std::string target::status_line() {
  const target_status s = status();
  return fmt::format("{} {}/{} {} {}", sectors_per_metadata_block, s.used, s.total, s.current_era,
                     s.held ? fmt::to_string(s.held->value) : "-");
}

std::string target::table_line(std::string_view metadata, std::string_view origin) const {
  return fmt::format("{} {} {}", metadata, origin, block_size_);
}

std::uint64_t target::digest(std::uint64_t steps) {
  for (std::uint64_t done = 0; done < steps; ++done) {
    const std::lock_guard lock(changing_);
    if (!resumed_ || metadata_.has_failed() || !metadata_.digest()) return done;
  }
  return steps;
}

std::uint64_t target::digest_and_commit(std::uint64_t steps) {
  const std::lock_guard lock(changing_);
  require_resumed();
  return metadata_.digest_and_commit(steps);
}

}  // namespace era
