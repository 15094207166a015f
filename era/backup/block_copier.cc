// SPDX-License-Identifier: GPL-3.0-or-later
// One loop, in one thread:
// 1. start reads until enough are under way, or no slot is free;
// 2. wait for a read, and start the writes of its piece;
// 3. if no write more may be under way, or nothing is being read, wait for a write.
//
// A piece that cannot be read is read again block by block: an error of the source hides no more
// than the blocks that it is in.
#include "era/backup/block_copier.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "era/format/units.h"
#include "era/text/range_text.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/short_transfer.h"

namespace era {
namespace {

constexpr std::size_t max_under_way = 8;  // of reads, and of writes
constexpr std::uint64_t zero_unit = 64 << 10;
constexpr std::size_t page = 4096;

}  // namespace

void block_copier::free_memory::operator()(std::byte* p) const noexcept { std::free(p); }

block_copier::block_copier(const data_device& source, backup_target& target,
                           block_copier_options options)
    : source_(source),
      target_(target),
      options_(std::move(options)),
      block_bytes_(bytes_of_block(options_.block_size)),
      engine_(source.make_engine()),
      single_engine_(source.make_engine()),
      max_reads_(std::min(engine_->depth(), max_under_way)),
      max_writes_(std::min(target.depth(), max_under_way)),
      pieces_(max_reads_ + max_writes_) {
  assert(target_.size() >= source_.bytes());
  // One piece more, for what is read back.
  memory_.reset(
      static_cast<std::byte*>(std::aligned_alloc(page, (pieces_.size() + 1) * piece_bytes)));
  if (!memory_) throw std::bad_alloc();
  for (std::size_t slot = 0; slot < pieces_.size(); ++slot) free_slots_.push_back(slot);
  slot_of_write_.resize(max_writes_);
  for (std::size_t tag = 0; tag < max_writes_; ++tag) free_tags_.push_back(tag);
}

block_copier::~block_copier() { wait_for_writes(); }

// The engine's destructor waits for reads.
void block_copier::wait_for_writes() noexcept {
  for (; writes_ > 0; --writes_) {
    try {
      target_.wait();
    } catch (const pd::error&) {
      // The first error has been thrown already.
    }
  }
}

std::byte* block_copier::data(std::size_t slot, std::uint64_t offset) const {
  return memory_.get() + slot * piece_bytes + (offset - pieces_[slot].offset);
}

copy_report block_copier::copy(blocks_to_copy& blocks) {
  result_ = {};
  read_all(blocks, [this](std::size_t slot, std::uint64_t from, std::uint64_t to) {
    write(slot, from, to);
  });
  result_.unread = joined(std::move(result_.unread));
  target_.flush();
  return std::exchange(result_, {});
}

void block_copier::verify(blocks_to_copy& blocks, const copy_report& copied) {
  std::byte* const again = memory_.get() + pieces_.size() * piece_bytes;
  const auto compare = [&](std::size_t slot, std::uint64_t from, std::uint64_t to) {
    const auto bytes = static_cast<std::size_t>(to - from);
    target_.read(from, {again, bytes});
    const std::byte* const wanted = data(slot, from);
    if (std::memcmp(wanted, again, bytes) == 0) return;
    // Blocks that were not read when they were copied may be readable now.
    for (std::uint64_t at = from; at < to;) {
      const std::uint64_t block = at / block_bytes_;
      const std::uint64_t end = block == (to - 1) / block_bytes_ ? to : (block + 1) * block_bytes_;
      const bool is_unread =
          std::any_of(copied.unread.begin(), copied.unread.end(),
                      [&](const origin_range& r) { return r.begin <= block && block < r.end; });
      const auto* const bad =
          std::mismatch(wanted + (at - from), wanted + (end - from), again + (at - from)).first;
      if (!is_unread && bad != wanted + (end - from))
        throw pd::device_error(fmt::format(
            "{}: differs from {} at byte {}, in block {}, although it was written", target_.name(),
            source_.path(), from + static_cast<std::uint64_t>(bad - wanted), block));
      at = end;
    }
  };
  result_ = {};
  read_all(blocks, compare);
  for (const origin_range& now : joined(std::exchange(result_, {}).unread))
    if (std::none_of(copied.unread.begin(), copied.unread.end(), [&](const origin_range& r) {
          return r.begin <= now.begin && now.end <= r.end;
        }))
      throw pd::device_error(fmt::format("{}: {} cannot be read again to verify the backup",
                                         source_.path(), in_words("block", now)));
}

void block_copier::read_all(blocks_to_copy& blocks, const data_sink& sink) {
  bool more = true;
  run_begin_ = run_end_ = 0;
  while (more || reads_ > 0 || writes_ > 0) {
    while (more && reads_ < max_reads_ && !free_slots_.empty()) {
      const auto next = next_piece(blocks);
      more = next.has_value();
      if (!more) break;
      const std::size_t slot = free_slots_.back();
      free_slots_.pop_back();
      pieces_[slot] = *next;
      ++reads_;
      submit(slot);
    }
    if (reads_ > 0)
      take_read(sink);
    else if (writes_ > 0)
      take_write();
  }
}

std::optional<block_copier::piece> block_copier::next_piece(blocks_to_copy& blocks) {
  if (run_begin_ == run_end_) {
    const auto run = blocks.next();
    if (!run) return {};
    const std::uint64_t last = run->end - 1;  // which may end with the source
    run_begin_ = run->begin * block_bytes_;
    run_end_ = last * block_bytes_ + std::min(block_bytes_, source_.bytes() - last * block_bytes_);
    result_.blocks += run->size();
    result_.bytes += run_end_ - run_begin_;
  }
  // Whole blocks, or a part of one: an error is then in no more blocks than it has to be.
  const std::uint64_t most =
      block_bytes_ > piece_bytes
          ? std::min<std::uint64_t>(piece_bytes, block_bytes_ - run_begin_ % block_bytes_)
          : piece_bytes / block_bytes_ * block_bytes_;
  const piece next{run_begin_, static_cast<std::size_t>(std::min(most, run_end_ - run_begin_))};
  run_begin_ += next.bytes;
  return next;
}

void block_copier::submit(std::size_t slot) {
  const piece& p = pieces_[slot];
  engine_->submit({data(slot, p.offset + p.done), p.bytes - p.done, p.offset + p.done, slot});
}

void block_copier::take_read(const data_sink& sink) {
  const pd::io_completion done = engine_->wait();
  piece& p = pieces_[done.tag];
  const int error = pd::continue_transfer(p.done, p.bytes, done.result, ENODATA);
  if (error == 0 && p.done < p.bytes) return submit(done.tag);
  --reads_;
  ++p.uses;
  if (error == 0)
    sink(done.tag, p.offset, p.offset + p.bytes);
  else
    read_singly(done.tag, error, sink);
  release(done.tag);
  options_.progress(pieces_[done.tag].bytes);
}

void block_copier::release(std::size_t slot) {
  if (--pieces_[slot].uses == 0) free_slots_.push_back(slot);
}

void block_copier::read_singly(std::size_t slot, int error, const data_sink& sink) {
  const piece p = pieces_[slot];
  if (block_bytes_ >= p.bytes) return note_unread(p.offset, p.offset + p.bytes, error);
  std::uint64_t good = p.offset;  // where what can be read since the last error begins
  const std::uint64_t end = p.offset + p.bytes;
  for (std::uint64_t at = p.offset; at < end;) {
    const std::uint64_t next = std::min(at + block_bytes_, end);
    if (const int failed = read_part(slot, at, next)) {
      if (good < at) sink(slot, good, at);
      note_unread(at, next, failed);
      good = next;
    }
    at = next;
  }
  if (good < end) sink(slot, good, end);
}

// Returns 0 or an errno.
int block_copier::read_part(std::size_t slot, std::uint64_t from, std::uint64_t to) {
  const std::size_t bytes = to - from;
  for (std::size_t done = 0; done < bytes;) {
    single_engine_->submit({data(slot, from + done), bytes - done, from + done, 0});
    const std::int64_t result = single_engine_->wait().result;
    if (const int error = pd::continue_transfer(done, bytes, result, ENODATA)) return error;
  }
  return 0;
}

void block_copier::note_unread(std::uint64_t from, std::uint64_t to, int error) {
  const origin_range blocks{from / block_bytes_, (to - 1) / block_bytes_ + 1};
  if (!options_.keep_going)
    throw pd::device_error(
        fmt::format("{}: {} cannot be read: {}; --keep-going copies the other blocks, and with "
                    "--state these next time",
                    source_.path(), in_words("block", blocks), std::strerror(error)));
  // The pieces of a large block fail one by one, between those of its neighbours.
  const std::size_t under_way = std::min(result_.unread.size(), pieces_.size());
  const auto recent = result_.unread.end() - static_cast<std::ptrdiff_t>(under_way);
  if (std::find(recent, result_.unread.end(), blocks) != result_.unread.end()) return;
  result_.unread.push_back(blocks);
  options_.unreadable(blocks, error);
}

void block_copier::write(std::size_t slot, std::uint64_t from, std::uint64_t to) {
  const auto all_zero = [&](std::uint64_t begin, std::uint64_t end) {
    return pd::is_zero(std::span(data(slot, begin), static_cast<std::size_t>(end - begin)));
  };
  if (!target_.reads_as_zeros(from, to - from))
    return start_write(slot, from, to, all_zero(from, to));
  for (std::uint64_t at = from; at < to;) {
    const auto unit_end = [&](std::uint64_t begin) { return std::min(begin + zero_unit, to); };
    const bool zero = all_zero(at, unit_end(at));
    std::uint64_t end = unit_end(at);
    while (end < to && all_zero(end, unit_end(end)) == zero) end = unit_end(end);
    if (zero)
      result_.zero_bytes += end - at;
    else
      start_write(slot, at, end, false);
    at = end;
  }
}

void block_copier::start_write(std::size_t slot, std::uint64_t from, std::uint64_t to, bool zero) {
  while (writes_ == max_writes_) take_write();
  const std::size_t tag = free_tags_.back();
  slot_of_write_[tag] = slot;
  target_.start({tag, from, {data(slot, from), static_cast<std::size_t>(to - from)}, zero});
  free_tags_.pop_back();
  ++pieces_[slot].uses;
  ++writes_;
}

void block_copier::take_write() {
  --writes_;  // also if it fails
  const std::size_t tag = target_.wait();
  free_tags_.push_back(tag);
  release(slot_of_write_[tag]);
}

}  // namespace era
