// SPDX-License-Identifier: GPL-3.0-or-later
// An external sort:
// 1. Entries are collected until the memory is full, sorted, and appended to the file as a run.
// 2. A heap merges the runs, each of which is read in pieces. The last run stays in memory.
// 3. Equal blocks meet in the merged order, ordered by their lines.
#include "era/cache/repeated_block.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <span>
#include <utility>

namespace era {

// Hands out the entries of one run in order.
class repeated_block::run_reader {
 public:
  run_reader(const temp_file& file, pd::range bytes, std::size_t entries_per_read)
      : file_(&file), left_(bytes), buffer_(entries_per_read) {}
  explicit run_reader(std::vector<entry> sorted)
      : buffer_(std::move(sorted)), have_(buffer_.size()) {}

  std::optional<entry> next() {
    if (at_ == have_) read();
    if (at_ == have_) return {};
    return buffer_[at_++];
  }

 private:
  void read() {
    const auto bytes = std::min<std::uint64_t>(left_.size(), buffer_.size() * sizeof(entry));
    at_ = 0;
    have_ = static_cast<std::size_t>(bytes / sizeof(entry));
    if (have_ == 0) return;
    file_->read(left_.begin, std::as_writable_bytes(std::span(buffer_).first(have_)));
    left_.begin += bytes;
  }

  const temp_file* file_ = nullptr;
  pd::range left_;
  std::vector<entry> buffer_;
  std::size_t at_ = 0, have_ = 0;
};

repeated_block::repeated_block(std::size_t memory)
    : most_entries_(std::max<std::size_t>(memory / sizeof(entry), 2)) {}

void repeated_block::add(std::uint64_t block, std::uint64_t line) {
  if (entries_.size() == most_entries_) spill();
  entries_.push_back({block, line});
}

void repeated_block::spill() {
  std::sort(entries_.begin(), entries_.end());
  if (!file_) file_ = std::make_unique<temp_file>();
  const auto bytes = std::as_bytes(std::span(entries_));
  const std::uint64_t begin = file_->append(bytes);
  runs_.push_back({begin, begin + bytes.size()});
  entries_.clear();
}

std::optional<repeated_block::repetition> repeated_block::find() {
  std::sort(entries_.begin(), entries_.end());
  // All runs together take as much as the entries in memory.
  const std::size_t per_read =
      std::max<std::size_t>(most_entries_ / std::max<std::size_t>(runs_.size(), 1), 16);
  std::vector<run_reader> readers;
  for (const pd::range& bytes : runs_) readers.emplace_back(*file_, bytes, per_read);
  readers.emplace_back(std::move(entries_));

  using item = std::pair<entry, std::size_t>;  // and its reader
  std::priority_queue<item, std::vector<item>, std::greater<>> heap;
  const auto advance = [&](std::size_t reader) {
    if (const auto next = readers[reader].next()) heap.emplace(*next, reader);
  };
  for (std::size_t i = 0; i < readers.size(); ++i) advance(i);

  std::optional<repetition> found;
  std::optional<entry> before;
  while (!heap.empty()) {
    const auto [now, reader] = heap.top();
    heap.pop();
    advance(reader);
    if (before && before->block == now.block && (!found || now.line < found->line))
      found = repetition{now.block, before->line, now.line};
    before = now;
  }
  return found;
}

}  // namespace era
