// SPDX-License-Identifier: GPL-3.0-or-later
// Writes to blocks without a mark wait in a list, and share a commit that marks them all:
// 1. A change is made to copies of metadata blocks; if it throws, the last commit is read again.
// 2. The commit writes the copies, and then the superblock, with a flush after each.
// 3. The marks in memory are set after the commit, and the origin is written after the marks.
#include "era/dm_target/target.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cctype>
#include <exception>
#include <limits>
#include <utility>

#include "era/text/printable.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"

namespace era {
namespace {

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

// Metadata blocks, at most. The leaves of a new bitset's tree are half full, since it grows at its
// end.
std::uint64_t blocks_of_bitset(std::uint64_t nr_bits) {
  const std::uint64_t blocks = pd::array_blocks_for(bitset_words(nr_bits), sizeof(pd::le64));
  return blocks + blocks / 100 + 1;
}

}  // namespace

struct target::changes {
  template <class... Args>
  explicit changes(Args&&... args) : tx(std::forward<Args>(args)...) {}

  pd::transaction tx;
  pd::bitset bits{tx};
  pd::array<pd::le32> eras{tx};
  pd::btree<writeset_value> writesets{
      tx,
      {[this](const std::byte* value) { tx.counts().increment(bitset_in(value)); },
       [this](const std::byte* value) { bits.release(bitset_in(value)); }}};

  static pd::block_nr bitset_in(const std::byte* value) {
    return {reinterpret_cast<const writeset_value*>(value)->root};
  }
};

struct target::waiting_write {
  pd::range blocks;
  bool done = false;
  std::exception_ptr error;
};

target::target(pd::block_store& metadata, origin_device& origin, const geometry& g,
               std::size_t cache_blocks)
    : metadata_(metadata),
      origin_(origin),
      block_size_(g.block_size),
      cache_blocks_(cache_blocks),
      length_(g.length) {
  if (block_size_ == 0 || block_size_ % 8 != 0)
    throw pd::invalid_input(fmt::format(
        "a block size of {} sectors cannot be; it is a multiple of 8 above 0", block_size_));
  blocks_for(length_);
  open_or_format();
}

target::~target() = default;

// --- Opening, and the way of a change

void target::open_or_format() {
  pd::block first;
  metadata_.read(superblock_location, first);
  if (pd::is_zero(first))
    format();
  else
    open(first);
}

void target::format() {
  changes_ = std::make_unique<changes>(metadata_, cache_blocks_);
  now_ = {};
  now_.writeset_tree_root = changes_->writesets.make();
  now_.era_array_root = changes_->eras.make();
  commit();
}

void target::open(const pd::block& first) {
  const auto refuse = [&](std::string_view why) {
    throw pd::invalid_input(fmt::format("{}: {}; see era_check", metadata_.name(), why));
  };
  if (const auto wrong = validate_superblock(first, superblock_location)) refuse(wrong->text);
  const auto& sb = first.as<superblock>();
  if (const auto wrong = check_superblock(sb, metadata_.nr_blocks(), false); !wrong.empty())
    refuse(wrong.front().text);
  if (sb.data_block_size != block_size_)
    throw pd::invalid_input(fmt::format("{}: the metadata is for blocks of {} sectors, not {}",
                                        metadata_.name(), std::uint32_t{sb.data_block_size},
                                        block_size_));
  superblock_ = first;
  committed_ = {sb.nr_blocks,      sb.current_era,          sb.current_nr_bits,
                {sb.current_root}, {sb.writeset_tree_root}, {sb.era_array_root},
                {sb.metadata_snap}};
  give_up_changes();
}

void target::give_up_changes() {
  has_digested_ = false;
  now_ = committed_;
  changes_.reset();
  changes_ =
      std::make_unique<changes>(metadata_, cache_blocks_, superblock_.as<superblock>().space_map);
  used_at_commit_ = changes_->tx.counts().nr_used();
}

void target::commit() {
  pd::block written;
  try {
    changes_->tx.commit(superblock_kind, [&](const pd::disk_sm_root& counts, pd::block& b) {
      auto& sb = b.as<superblock>();
      sb.magic = superblock_magic;
      sb.version = superblock_version;
      sb.space_map = counts;
      sb.data_block_size = block_size_;
      sb.metadata_block_size = sectors_per_metadata_block;
      sb.nr_blocks = now_.nr_blocks;
      sb.current_era = now_.current_era;
      sb.current_nr_bits = now_.current_nr_bits;
      sb.current_root = now_.current_root.value;
      sb.writeset_tree_root = now_.writeset_tree_root.value;
      sb.era_array_root = now_.era_array_root.value;
      sb.metadata_snap = now_.metadata_snap.value;
      written = b;
    });
  } catch (const pd::device_error&) {
    // What of it is on the device nobody knows.
    failed_ = true;
    throw;
  }
  pd::prepare_for_write(superblock_kind, written, superblock_location);
  superblock_ = written;
  committed_ = now_;
  used_at_commit_ = changes_->tx.counts().nr_used();
  has_digested_ = false;
  ++nr_commits_;
}

// Changes and commits; or, where that fails, the last commit stands. Digestion that nobody has
// committed yet may have taken the room for it: then it is given up, to be done again.
template <class Change>
void target::change(Change how) {
  const bool had_digested = has_digested_;
  try {
    change_once(how);
  } catch (const pd::no_space&) {
    if (!had_digested) throw;
    change_once(how);
  }
}

template <class Change>
void target::change_once(Change how) {
  if (failed_)
    throw pd::device_error(fmt::format(
        "{}: the metadata device has failed; nothing is written to it until it is opened again",
        metadata_.name()));
  try {
    how();
  } catch (...) {
    const auto error = std::current_exception();
    // If not even the last commit can be read, no more changes can be made, and that is the error.
    try {
      give_up_changes();
    } catch (...) {
      failed_ = true;
      throw;
    }
    std::rethrow_exception(error);
  }
}

// Operations that permanently consume metadata blocks must leave a reserve: writes, the release of
// a snapshot and digestion all copy before they free, and a resume needs a bitset for its new era.
void target::leave_room(reserve kept) const {
  const auto& counts = changes_->tx.counts();
  std::uint64_t room = 6 + 2 * pd::bitmaps_for(counts.nr_blocks());
  room += kept == reserve::for_resume_too ? blocks_of_bitset(now_.nr_blocks) : 2;
  if (counts.nr_used() > used_at_commit_ && counts.nr_blocks() - counts.nr_used() < room)
    throw pd::no_space(
        fmt::format("{}: {} of {} metadata blocks would be in use, and {} are kept free for writes "
                    "and digestion; drop the snapshot, digest, or take a larger metadata device",
                    metadata_.name(), counts.nr_used(), counts.nr_blocks(), room));
}

// --- Blocks and marks

std::uint32_t target::blocks_for(std::uint64_t sectors) const {
  const std::uint64_t blocks = sectors / block_size_ + (sectors % block_size_ != 0);
  if (blocks > max_origin_blocks)
    throw pd::invalid_input(
        fmt::format("{} sectors are {} blocks; there can be {}: take larger ones", sectors, blocks,
                    max_origin_blocks));
  return static_cast<std::uint32_t>(blocks);
}

pd::range target::blocks_of(std::uint64_t sector, std::uint64_t count) const {
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

bool target::are_marked(pd::range blocks) const noexcept {
  bool all = true;
  pd::bitset::for_each_word(blocks, [&](std::uint64_t word, std::uint64_t mask) {
    all = all && (marks_[word].load(std::memory_order_acquire) & mask) == mask;
  });
  return all;
}

void target::set_marked(pd::range blocks) noexcept {
  std::uint64_t new_marks = 0;
  pd::bitset::for_each_word(blocks, [&](std::uint64_t word, std::uint64_t mask) {
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
  return {committed_.current_era};
}

std::uint32_t target::nr_blocks() const {
  const std::lock_guard lock(changing_);
  return committed_.nr_blocks;
}

// On disk first, then in memory: a write that finds the mark goes straight to the origin.
void target::mark(pd::range blocks) {
  waiting_write own{blocks, false, nullptr};
  {
    const std::lock_guard lock(waiting_mutex_);
    waiting_.push_back(&own);
  }
  const std::lock_guard lock(changing_);
  if (!own.done) {
    std::vector<waiting_write*> together;
    {
      const std::lock_guard waiting(waiting_mutex_);
      together.swap(waiting_);
    }
    // Neighbours share bitset blocks: so each half of a group that is divided needs fewer.
    std::ranges::sort(together, {}, [](const waiting_write* w) { return w->blocks.begin; });
    mark_together(together);
  }
  assert(own.done);
  if (own.error) std::rethrow_exception(own.error);
}

// Writes that cannot be marked in one commit are divided until each fails or succeeds for a reason
// of its own: no space for all of them, or damage that only some of them need.
void target::mark_together(std::span<waiting_write* const> writes) {
  std::exception_ptr error;
  try {
    if (writes.size() == 1) {
      mark_in_parts(writes.front()->blocks);
    } else {
      std::vector<pd::range> blocks;
      for (const waiting_write* w : writes) blocks.push_back(w->blocks);
      mark_in_one_commit(blocks);
    }
  } catch (...) {
    error = std::current_exception();
  }
  if (error && writes.size() > 1 && !failed_) {
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
void target::mark_in_parts(pd::range blocks) {
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
void target::mark_in_one_commit(std::span<const pd::range> blocks) {
  if (std::ranges::all_of(blocks, [&](pd::range each) { return are_marked(each); })) return;
  change([&] {
    for (const pd::range each : blocks)
      pd::bitset::for_each_block(each, [&](pd::range part) {
        if (!are_marked(part)) now_.current_root = changes_->bits.set(now_.current_root, part);
      });
    commit();
  });
  for (const pd::range each : blocks) set_marked(each);
}

// --- What the device is asked for

// A request that changes the origin: it goes on when its blocks are marked, and the era does not
// end before it is done.
template <class Request>
void target::mark_and_do(std::uint64_t sector, std::uint64_t count, const Request& request) {
  const auto lock = stay_in_era();
  require_resumed();
  const pd::range blocks = blocks_of(sector, count);
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
  blocks_for(sectors);
  length_ = sectors;
}

void target::resume() {
  const auto lock = end_era();
  const std::lock_guard changing(changing_);
  if (resumed_) return;
  const std::uint32_t nr_blocks = blocks_for(length_);
  // A device that shrinks may need the blocks that this frees; one that grows keeps its old size
  // unless its new era fits, too.
  if (nr_blocks < now_.nr_blocks) change_and_make_room(false, [&] { resize(nr_blocks); });
  const bool grows = nr_blocks > now_.nr_blocks;
  change_and_make_room(grows, [&] {
    if (grows) resize(nr_blocks);
    roll_over();
  });
  clear_marks(nr_blocks);
  resumed_ = true;
}

// A device that cannot be resumed can neither digest nor drop its snapshot. So a resume finds the
// room itself: by digestion as a resumed device does it, and then, if that is not enough, by
// digestion that takes from the reserve for a resume what a snapshot makes it copy.
template <class Change>
void target::change_and_make_room(bool must_leave_room, Change how) {
  const auto attempt = [&](bool leaves_room) {
    change([&] {
      how();
      if (leaves_room) leave_room();
      commit();
    });
  };
  const auto fits = [&](bool leaves_room) {
    try {
      attempt(leaves_room);
      return true;
    } catch (const pd::no_space&) {
      return false;
    }
  };
  if (fits(true)) return;
  digest_everything(reserve::for_resume_too);
  if (fits(must_leave_room)) return;
  digest_everything(reserve::for_changes);
  attempt(must_leave_room);
}

// As far as there is room. Each change is committed: the next one may need the blocks that this one
// frees.
void target::digest_everything(reserve kept) try {
  for (auto progress = digest_progress::changed; progress != digest_progress::none_left;)
    change([&] {
      do {
        progress = digest_step();
      } while (progress == digest_progress::nothing_found);
      if (progress == digest_progress::changed) leave_room(kept);
      commit();
    });
} catch (const pd::no_space&) {
}

void target::suspend() {
  const auto lock = end_era();
  const std::lock_guard changing(changing_);
  if (!resumed_) return;
  change([&] {
    archive_current();
    commit();
  });
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
    drop_metadata_snap();
    return;
  }
  if (!checkpoint && now_.metadata_snap.value != 0)
    throw pd::invalid_input("there is a metadata snapshot already; drop it first");
  change([&] {
    roll_over();
    leave_room();
    commit();
  });
  clear_marks(now_.nr_blocks);
  if (!checkpoint) take_metadata_snap();
}

target_status target::status() {
  const std::lock_guard lock(changing_);
  // Without a change there is nothing to commit, but a reader may rely on what he is told.
  change([&] { commit(); });
  const auto& counts = changes_->tx.counts();
  target_status s{counts.nr_used(), counts.nr_blocks(), {now_.current_era}, std::nullopt};
  if (now_.metadata_snap.value != 0) s.held = now_.metadata_snap;
  return s;
}

std::string target::status_line() {
  const target_status s = status();
  return fmt::format("{} {}/{} {} {}", sectors_per_metadata_block, s.used, s.total, s.current_era,
                     s.held ? fmt::to_string(s.held->value) : "-");
}

std::string target::table_line(std::string_view metadata, std::string_view origin) const {
  return fmt::format("{} {} {}", metadata, origin, block_size_);
}

// --- Eras

void target::archive_current() {
  if (now_.current_root.value == 0) return;
  // An insertion would let the other one go, and its writes would be missing.
  if (changes_->writesets.lookup(now_.writeset_tree_root, now_.current_era))
    throw pd::damaged_metadata(
        fmt::format("{}: era {} is the current one and has an archived writeset; see era_check",
                    metadata_.name(), now_.current_era));
  const writeset_value value{now_.current_nr_bits, now_.current_root.value};
  now_.writeset_tree_root =
      changes_->writesets.insert(now_.writeset_tree_root, now_.current_era, value);
  now_.current_root = {0};
}

void target::roll_over() {
  if (now_.current_era >= max_current_era)
    throw pd::invalid_input(
        fmt::format("{}: era {} is the last one that there can be; the device needs new metadata",
                    metadata_.name(), now_.current_era));
  archive_current();
  now_.current_root = changes_->bits.make(now_.nr_blocks);
  now_.current_nr_bits = now_.nr_blocks;
  ++now_.current_era;
}

void target::resize(std::uint32_t nr_blocks) {
  // Eras of blocks that are cut off are lost, and the blocks may come back: from the beginning.
  now_.digesting.reset();
  now_.era_array_root =
      changes_->eras.resize(now_.era_array_root, now_.nr_blocks, nr_blocks, pd::le32(0));
  now_.nr_blocks = nr_blocks;
}

// After a rollover that was committed: the copy has an empty current writeset, which is not held.
void target::take_metadata_snap() {
  change([&] {
    const pd::block_ptr copy = changes_->tx.create(superblock_kind);
    copy->content = superblock_;
    changes_->tx.counts().increment(now_.writeset_tree_root);
    changes_->tx.counts().increment(now_.era_array_root);
    now_.metadata_snap = copy->where;
    leave_room();
    commit();
  });
}

void target::drop_metadata_snap() {
  if (now_.metadata_snap.value == 0) throw pd::invalid_input("there is no metadata snapshot");
  change([&] {
    const pd::block_ptr copy = changes_->tx.read(superblock_kind, now_.metadata_snap);
    const auto& sb = copy->content.as<superblock>();
    // Its sum was right when it was read, or it was made here.
    if (sb.magic != superblock_magic || !check_superblock(sb, metadata_.nr_blocks(), true).empty())
      throw pd::damaged_metadata(
          fmt::format("{}: the metadata snapshot's superblock in block {} is wrong; see era_check",
                      metadata_.name(), now_.metadata_snap));
    changes_->writesets.release({sb.writeset_tree_root});
    changes_->eras.release({sb.era_array_root});
    changes_->tx.counts().decrement(now_.metadata_snap);
    now_.metadata_snap = {0};
    commit();
  });
}

std::uint64_t target::digest(std::uint64_t steps) {
  for (std::uint64_t done = 0; done < steps; ++done) {
    const std::lock_guard lock(changing_);
    if (!resumed_ || failed_) return done;
    auto progress = digest_progress::none_left;
    change_once([&] {
      progress = digest_step();
      if (progress != digest_progress::changed) return;
      has_digested_ = true;
      leave_room();
    });
    if (progress == digest_progress::none_left) return done;
  }
  return steps;
}

std::uint64_t target::digest_and_commit(std::uint64_t steps) {
  const std::lock_guard lock(changing_);
  require_resumed();
  std::uint64_t done = 0;
  change([&] {
    for (done = 0; done < steps; ++done) {
      const auto progress = digest_step();
      if (progress == digest_progress::none_left) break;
      if (progress == digest_progress::changed) leave_room();
    }
    commit();
  });
  return done;
}

// False if there is no archived writeset.
bool target::begin_digestion() {
  const auto lowest = changes_->writesets.lowest(now_.writeset_tree_root);
  if (!lowest) return false;
  // The array would get an era that has not begun. The writeset stays, so that no write is lost.
  if (*lowest > now_.current_era)
    throw pd::damaged_metadata(
        fmt::format("{}: there is a writeset of era {}, and the current era is {}; see era_check",
                    metadata_.name(), *lowest, now_.current_era));
  const auto value = changes_->writesets.lookup(now_.writeset_tree_root, *lowest);
  now_.digesting = {{static_cast<std::uint32_t>(*lowest)}, *value};
  return true;
}

// Looks at the rest of one bitset block, up to the first block of the era array that has a mark.
target::digest_progress target::digest_step() {
  if (!now_.digesting && !begin_digestion()) return digest_progress::none_left;
  digestion& d = *now_.digesting;
  const std::uint64_t end = std::min<std::uint32_t>(d.writeset.nr_bits, now_.nr_blocks);
  std::vector<std::uint64_t> marked;
  if (d.next < end) {
    std::uint64_t looked_at =
        std::min(end, (d.next / bits_per_bitset_block + 1) * bits_per_bitset_block);
    changes_->bits.for_each_set({d.writeset.root}, {d.next, looked_at}, [&](std::uint64_t b) {
      if (marked.empty())
        looked_at = std::min(looked_at, (b / eras_per_array_block + 1) * eras_per_array_block);
      if (b < looked_at) marked.push_back(b);
      return b < looked_at;
    });
    d.next = looked_at;
  }
  if (!marked.empty()) {
    digest_blocks(d.era, marked);
    return digest_progress::changed;
  }
  if (d.next < end) return digest_progress::nothing_found;
  now_.writeset_tree_root = changes_->writesets.remove(now_.writeset_tree_root, d.era.value);
  now_.digesting.reset();
  return digest_progress::changed;
}

// Blocks of one block of the era array, in ascending order; not none. An era in the array that is
// newer than the writeset's stays: only wrong metadata has one, and the block was written in it.
void target::digest_blocks(era_nr era, const std::vector<std::uint64_t>& marked) {
  const std::uint64_t block = marked.front() / eras_per_array_block;
  const std::uint64_t first = block * eras_per_array_block;
  now_.era_array_root =
      changes_->eras.change_block(now_.era_array_root, block, [&](std::span<pd::le32> eras) {
        if (marked.back() - first >= eras.size())
          throw pd::damaged_metadata(
              fmt::format("{}: block {} of the era array is too short; see era_check",
                          metadata_.name(), block));
        for (const std::uint64_t b : marked)
          eras[b - first] = std::max<std::uint32_t>(eras[b - first], era.value);
      });
}

}  // namespace era
