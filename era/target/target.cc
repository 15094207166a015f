// SPDX-License-Identifier: GPL-3.0-or-later
// See target.h.
#include "era/target/target.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <exception>
#include <limits>
#include <utility>

#include "era/text/printable.h"
#include "persistent-data/io/block_device.h"

namespace era {
namespace {

// A megabyte: the trees' upper levels and what is written again and again.
constexpr std::size_t cached_blocks = 256;

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

}  // namespace

struct target::changes {
  changes(pd::block_store& store, const pd::disk_sm_root& root) : tx(store, cached_blocks, root) {}
  explicit changes(pd::block_store& store) : tx(store, cached_blocks) {}

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

target::target(pd::block_store& metadata, origin_device& origin, const geometry& g)
    : metadata_(metadata), origin_(origin), block_size_(g.block_size), length_(g.length) {
  if (block_size_ == 0 || block_size_ % 8 != 0)
    throw refused(fmt::format("a block size of {} sectors cannot be; it is a multiple of 8 above 0",
                              block_size_));
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
  changes_ = std::make_unique<changes>(metadata_);
  now_ = {};
  now_.writeset_tree_root = changes_->writesets.make();
  now_.era_array_root = changes_->eras.make();
  commit();
}

void target::open(const pd::block& first) {
  const auto refuse = [&](std::string_view why) {
    throw refused(fmt::format("{}: {}; see era_check", metadata_.name(), why));
  };
  if (const auto wrong = verify_superblock(first, superblock_location)) refuse(wrong->detail);
  const auto& sb = first.as<superblock>();
  if (const auto wrong = check_superblock(sb, metadata_.nr_blocks(), false); !wrong.empty())
    refuse(wrong.front().detail);
  if (sb.data_block_size != block_size_)
    throw refused(fmt::format("{}: the metadata is for blocks of {} sectors, not {}",
                              metadata_.name(), std::uint32_t{sb.data_block_size}, block_size_));
  superblock_ = first;
  committed_ = {sb.nr_blocks,      sb.current_era,          sb.current_nr_bits,
                {sb.current_root}, {sb.writeset_tree_root}, {sb.era_array_root},
                {sb.metadata_snap}};
  give_up_changes();
}

void target::give_up_changes() {
  // Digestion goes on from the last commit, not from the writeset's begin.
  digestion_ = committed_digestion_;
  has_digested_ = false;
  now_ = committed_;
  changes_.reset();
  changes_ = std::make_unique<changes>(metadata_, superblock_.as<superblock>().space_map);
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
  pd::seal(superblock_kind, written, superblock_location);
  superblock_ = written;
  committed_ = now_;
  committed_digestion_ = digestion_;
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
        "{}: a commit has failed; the metadata is not written any more", metadata_.name()));
  try {
    how();
  } catch (...) {
    const auto error = std::current_exception();
    // Where not even the last commit can be read, no more changes can be made.
    try {
      give_up_changes();
    } catch (const std::exception&) {
      failed_ = true;
    }
    std::rethrow_exception(error);
  }
}

// What takes metadata blocks for good leaves enough for what goes on without (a write, the release
// of a snapshot) and for what brings more (digestion): each needs copies before it frees anything.
void target::leave_room() const {
  const auto& counts = changes_->tx.counts();
  const std::uint64_t room = 8 + 2 * pd::bitmaps_for(counts.nr_blocks());
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
    throw refused(fmt::format("{} sectors are {} blocks; there can be {}: take larger ones",
                              sectors, blocks, max_origin_blocks));
  return static_cast<std::uint32_t>(blocks);
}

pd::range target::blocks_of(std::uint64_t sector, std::uint64_t count) const {
  if (count > length_ || sector > length_ - count)
    throw refused(fmt::format("sectors {} to {} are past the end of the device, which has {}",
                              sector, sector + count, length_));
  if (count == 0) return {};
  return {sector / block_size_, (sector + count - 1) / block_size_ + 1};
}

void target::require_resumed() const {
  if (!resumed_) throw refused("the device is suspended");
}

bool target::is_marked(std::uint64_t block) const noexcept {
  return marks_[block / bits_per_word].load(std::memory_order_acquire) >> block % bits_per_word & 1;
}

bool target::are_marked(pd::range blocks) const noexcept {
  for (std::uint64_t b = blocks.begin; b < blocks.end; ++b)
    if (!is_marked(b)) return false;
  return true;
}

void target::set_marked(std::uint64_t block) noexcept {
  marks_[block / bits_per_word].fetch_or(std::uint64_t{1} << block % bits_per_word,
                                         std::memory_order_release);
  ++nr_marked_;
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
    mark_together(together);
  }
  if (own.error) std::rethrow_exception(own.error);
}

void target::mark_together(std::vector<waiting_write*>& together) {
  std::exception_ptr error;
  try {
    change([&] {
      for (const waiting_write* w : together)
        for (std::uint64_t b = w->blocks.begin; b < w->blocks.end; ++b)
          if (!is_marked(b)) now_.current_root = changes_->bits.set(now_.current_root, b);
      commit();
    });
    for (const waiting_write* w : together)
      for (std::uint64_t b = w->blocks.begin; b < w->blocks.end; ++b)
        if (!is_marked(b)) set_marked(b);
  } catch (...) {
    error = std::current_exception();
  }
  for (waiting_write* w : together) {
    w->error = error;
    w->done = true;
  }
}

// --- What the device is asked for

void target::write(std::uint64_t sector, std::uint64_t count, const std::byte* data) {
  const auto lock = stay_in_era();
  require_resumed();
  const pd::range blocks = blocks_of(sector, count);
  if (!are_marked(blocks)) mark(blocks);
  origin_.write(sector, count, data);
}

void target::write(std::uint64_t sector, std::uint64_t count,
                   const std::function<void()>& write_origin) {
  const auto lock = stay_in_era();
  require_resumed();
  const pd::range blocks = blocks_of(sector, count);
  if (!are_marked(blocks)) mark(blocks);
  write_origin();
}

void target::discard(std::uint64_t sector, std::uint64_t count) {
  const auto lock = stay_in_era();
  require_resumed();
  const pd::range blocks = blocks_of(sector, count);
  if (!are_marked(blocks)) mark(blocks);
  origin_.discard(sector, count);
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
  if (resumed_) throw refused("the length is changed while the device is suspended");
  blocks_for(sectors);
  length_ = sectors;
}

void target::resume() {
  const auto lock = end_era();
  const std::lock_guard changing(changing_);
  if (resumed_) return;
  const std::uint32_t nr_blocks = blocks_for(length_);
  if (nr_blocks != now_.nr_blocks) {
    const bool grows = nr_blocks > now_.nr_blocks;
    change_and_make_room(grows, [&] { resize(nr_blocks); });
  }
  change_and_make_room(false, [&] { roll_over(); });
  clear_marks(nr_blocks);
  resumed_ = true;
}

// A device that cannot be resumed can neither digest nor drop its snapshot. So this finds the room
// itself, and in the end it takes what is kept free, where it may.
template <class Change>
void target::change_and_make_room(bool must_leave_room, Change how) {
  const auto attempt = [&](bool leaves_room) {
    change([&] {
      how();
      if (leaves_room) leave_room();
      commit();
    });
  };
  try {
    attempt(true);
    return;
  } catch (const pd::no_space&) {
  }
  try {
    digest_everything();
  } catch (const pd::no_space&) {
    // As far as it goes.
  }
  attempt(must_leave_room);
}

// Each step is committed: what the next needs may be what this one has freed.
void target::digest_everything() {
  for (bool more = true; more;)
    change([&] {
      more = digest_step();
      if (more) leave_room();
      commit();
    });
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
    throw refused(
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
    throw refused("there is a metadata snapshot already; drop it first");
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
    throw pd::damaged_block(
        fmt::format("{}: era {} is the current one and has an archived writeset; see era_check",
                    metadata_.name(), now_.current_era));
  const writeset_value value{now_.current_nr_bits, now_.current_root.value};
  now_.writeset_tree_root =
      changes_->writesets.insert(now_.writeset_tree_root, now_.current_era, value);
  now_.current_root = {0};
}

void target::roll_over() {
  if (now_.current_era == std::numeric_limits<std::uint32_t>::max())
    throw refused("there is no era after the last one");
  archive_current();
  now_.current_root = changes_->bits.make(now_.nr_blocks);
  now_.current_nr_bits = now_.nr_blocks;
  ++now_.current_era;
}

void target::resize(std::uint32_t nr_blocks) {
  // What digestion has read of the size is not right any more.
  digestion_.reset();
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
  if (now_.metadata_snap.value == 0) throw refused("there is no metadata snapshot");
  change([&] {
    const pd::block_ptr copy = changes_->tx.read(superblock_kind, now_.metadata_snap);
    const auto& sb = copy->content.as<superblock>();
    // Its sum was right when it was read, or it was made here.
    if (sb.magic != superblock_magic || !check_superblock(sb, metadata_.nr_blocks(), true).empty())
      throw pd::damaged_block(
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
  const std::lock_guard lock(changing_);
  if (!resumed_ || failed_) return 0;
  std::uint64_t done = 0;
  change_once([&] {
    for (; done < steps && digest_step(); ++done) {
      has_digested_ = true;
      leave_room();
    }
  });
  return done;
}

std::uint64_t target::digest_and_commit(std::uint64_t steps) {
  const std::lock_guard lock(changing_);
  require_resumed();
  std::uint64_t done = 0;
  change([&] {
    for (done = 0; done < steps && digest_step(); ++done) leave_room();
    commit();
  });
  return done;
}

// One block of the era array that the writeset has something for, or the writeset's end. False:
// there is none.
bool target::digest_step() {
  if (!digestion_) {
    const auto lowest = changes_->writesets.lowest(now_.writeset_tree_root);
    if (!lowest) return false;
    if (*lowest > now_.current_era)
      throw pd::damaged_block(
          fmt::format("{}: there is a writeset of era {}, and the current era is "
                      "{}; see era_check",
                      metadata_.name(), *lowest, now_.current_era));
    const auto value = changes_->writesets.lookup(now_.writeset_tree_root, *lowest);
    digestion_ = {{static_cast<std::uint32_t>(*lowest)}, *value};
  }
  digestion& d = *digestion_;
  const std::uint64_t end = std::min<std::uint32_t>(d.writeset.nr_bits, now_.nr_blocks);
  const pd::block_nr bits{d.writeset.root};
  for (; d.next * eras_per_array_block < end; ++d.next) {
    const pd::range blocks = pd::intersection(
        {d.next * eras_per_array_block, (d.next + 1) * eras_per_array_block}, {0, end});
    std::vector<std::uint64_t> marked;
    for (std::uint64_t w = blocks.begin / bits_per_word; w * bits_per_word < blocks.end; ++w) {
      std::uint64_t word = changes_->bits.words().get(bits, w);
      for (; word != 0; word &= word - 1) {
        const std::uint64_t b = w * bits_per_word + static_cast<unsigned>(std::countr_zero(word));
        if (blocks.begin <= b && b < blocks.end) marked.push_back(b);
      }
    }
    if (marked.empty()) continue;
    now_.era_array_root =
        changes_->eras.change_block(now_.era_array_root, d.next, [&](std::span<pd::le32> eras) {
          if (marked.back() - blocks.begin >= eras.size())
            throw pd::damaged_block(
                fmt::format("{}: block {} of the era array is too short; see era_check",
                            metadata_.name(), d.next));
          for (const std::uint64_t b : marked) eras[b - blocks.begin] = d.era.value;
        });
    ++d.next;
    return true;
  }
  now_.writeset_tree_root = changes_->writesets.remove(now_.writeset_tree_root, d.era.value);
  digestion_.reset();
  return true;
}

}  // namespace era
