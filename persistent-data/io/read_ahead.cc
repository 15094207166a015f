// SPDX-License-Identifier: GPL-3.0-or-later
// Two lists of runs of neighbouring blocks: as many runs are under way as the engine takes, those
// of the older list first.
#include "persistent-data/io/read_ahead.h"

#include <algorithm>

namespace persistent_data {

namespace {
constexpr std::size_t nr_lists = 2;
constexpr std::size_t blocks_per_request = 32;
}  // namespace

// Blocks [first, first + size), read by one request into the list's buffer from `at` on.
struct read_ahead::run {
  std::uint64_t first;
  std::size_t size, at;
  bool is_done = false;
  std::size_t readable = 0;  // of its blocks, from the first on

  std::uint64_t end() const noexcept { return first + size; }
};

struct read_ahead::list {
  std::vector<std::uint64_t> blocks;  // ascending, each once
  std::vector<run> runs;              // ascending
  std::size_t submitted = 0, done = 0;
  std::unique_ptr<block[]> buffer;
  std::size_t room = 0;  // of the buffer, in blocks

  void assign(std::span<const block_nr> wanted, std::uint64_t nr_blocks) {
    blocks.clear();
    for (const block_nr b : wanted)
      if (b.value < nr_blocks) blocks.push_back(b.value);
    std::sort(blocks.begin(), blocks.end());
    blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
    blocks.resize(std::min(blocks.size(), most_blocks));
    for (std::size_t i = 0; i < blocks.size(); ++i)
      if (!runs.empty() && runs.back().end() == blocks[i] && runs.back().size < blocks_per_request)
        ++runs.back().size;
      else
        runs.push_back({blocks[i], 1, i});
    if (room < blocks.size()) {
      buffer.reset(new block[blocks.size()]);
      room = blocks.size();
    }
  }
};

read_ahead::read_ahead(std::unique_ptr<io_engine> engine, std::uint64_t nr_blocks)
    : lists_(new list[nr_lists]), engine_(std::move(engine)), nr_blocks_(nr_blocks) {}

read_ahead::~read_ahead() = default;

void read_ahead::prefetch(std::span<const block_nr> soon) {
  if (engine_->depth() == 1) return;
  newest_ = (newest_ + 1) % nr_lists;
  drop(lists_[newest_]);
  lists_[newest_].assign(soon, nr_blocks_);
  submit();
}

// Requests under way have to end before their buffer is used again.
void read_ahead::drop(list& old) {
  old.runs.resize(old.submitted);
  while (old.done < old.runs.size()) wait();
  old.runs.clear();
  old.submitted = old.done = 0;
}

void read_ahead::submit() {
  for (std::size_t i = 1; i <= nr_lists; ++i) {
    const std::size_t which = (newest_ + i) % nr_lists;
    list& from = lists_[which];
    for (; from.submitted < from.runs.size() && under_way_ < engine_->depth(); ++under_way_) {
      const run& next = from.runs[from.submitted];
      engine_->submit({from.buffer[next.at].bytes.data(), next.size * block_size,
                       next.first * block_size, from.submitted++ * nr_lists + which});
    }
  }
}

void read_ahead::wait() {
  const io_completion completion = engine_->wait();
  --under_way_;
  list& of = lists_[completion.tag % nr_lists];
  run& done = of.runs[completion.tag / nr_lists];
  done.is_done = true;
  if (completion.result > 0)
    done.readable = static_cast<std::size_t>(completion.result) / block_size;
  ++of.done;
  submit();
}

const block* read_ahead::find(block_nr wanted) {
  for (std::size_t i = 0; i < nr_lists; ++i)
    if (const block* found = find_in(lists_[i], wanted)) return found;
  return nullptr;
}

const block* read_ahead::find_in(list& in, block_nr wanted) {
  const auto after = std::partition_point(in.runs.begin(), in.runs.end(),
                                          [&](const run& r) { return r.first <= wanted.value; });
  if (after == in.runs.begin()) return nullptr;
  const run& r = *std::prev(after);
  if (wanted.value >= r.end()) return nullptr;
  while (!r.is_done) wait();
  const std::uint64_t i = wanted.value - r.first;
  return i < r.readable ? &in.buffer[r.at + i] : nullptr;
}

}  // namespace persistent_data
