// SPDX-License-Identifier: GPL-3.0-or-later
// An external sort:
// 1. Entries are collected until the memory is full, sorted, and appended to the file as a run.
// 2. If all fit into memory, they are sorted there.
// 3. Else a heap merges the runs, each of which is read in pieces.
// 4. Equal blocks meet in the merged order, ordered by their lines.
#include "era/cache/repeated_block.h"

#include <algorithm>
#include <queue>
#include <span>
#include <utility>

namespace era {

// Hands out the entries of one run in order.
class repeated_block::run_reader {
 public:
  run_reader(const pd::temp_file& file, pd::range bytes, std::size_t entries_per_read)
      : file_(&file), left_(bytes), buffer_(entries_per_read) {}

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

  const pd::temp_file* file_;
  pd::range left_;
  std::vector<entry> buffer_;
  std::size_t at_ = 0, have_ = 0;
};

// Takes all entries in order.
class repeated_block::neighbour_check {
 public:
  void take(const entry& now) {
    if (before_ && before_->block == now.block && (!found_ || now.line < found_->line))
      found_ = repetition{now.block, before_->line, now.line};
    before_ = now;
  }
  const std::optional<repetition>& found() const noexcept { return found_; }

 private:
  std::optional<entry> before_;
  std::optional<repetition> found_;
};

// The vector doubles when it grows, and then takes half as much again.
repeated_block::repeated_block(std::size_t memory)
    : most_entries_(std::max<std::size_t>(memory / sizeof(entry) / 2, 2)) {}

void repeated_block::add(std::uint64_t block, std::uint64_t line) {
  if (entries_.size() == most_entries_) spill();
  entries_.push_back({block, line});
}

void repeated_block::spill() {
  std::sort(entries_.begin(), entries_.end());
  if (!file_) file_ = std::make_unique<pd::temp_file>();
  const auto bytes = std::as_bytes(std::span(entries_));
  const std::uint64_t begin = file_->append(bytes);
  runs_.push_back({begin, begin + bytes.size()});
  entries_.clear();
}

std::optional<repeated_block::repetition> repeated_block::find() {
  neighbour_check check;
  if (file_) {
    spill();
    entries_ = std::vector<entry>();
    merge([&](const entry& now) { check.take(now); });
  } else {
    std::sort(entries_.begin(), entries_.end());
    for (const entry& now : entries_) check.take(now);
  }
  return check.found();
}

void repeated_block::merge(const std::function<void(const entry&)>& take) const {
  // All runs together take no more memory than the entries did.
  constexpr std::size_t enough = 1 << 14;
  const std::size_t per_read = std::clamp<std::size_t>(most_entries_ / runs_.size(), 1, enough);
  std::vector<run_reader> readers;
  for (const pd::range& bytes : runs_) readers.emplace_back(*file_, bytes, per_read);
  using item = std::pair<entry, std::size_t>;  // and its reader
  std::priority_queue<item, std::vector<item>, std::greater<>> heap;
  const auto advance = [&](std::size_t reader) {
    if (const auto next = readers[reader].next()) heap.emplace(*next, reader);
  };
  for (std::size_t i = 0; i < readers.size(); ++i) advance(i);
  while (!heap.empty()) {
    const auto [now, reader] = heap.top();
    heap.pop();
    advance(reader);
    take(now);
  }
}

}  // namespace era
