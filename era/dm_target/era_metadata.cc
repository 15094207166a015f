// SPDX-License-Identifier: GPL-3.0-or-later
// 1. A change is made to copies of metadata blocks; if it throws, the last commit is read again.
// 2. The commit writes the copies, and then the superblock, with a flush after each.
#include "era/dm_target/era_metadata.h"

#include <algorithm>
#include <exception>
#include <utility>
#include <vector>

#include "persistent-data/format/errors.h"
#include "persistent-data/transaction/array.h"
#include "persistent-data/transaction/bitset.h"
#include "persistent-data/transaction/btree.h"
#include "persistent-data/transaction/transaction.h"

namespace era {
namespace {

// Metadata blocks, at most. The leaves of a new bitset's tree are half full, since it grows at its
// end.
std::uint64_t blocks_of_bitset(std::uint64_t nr_bits) {
  const std::uint64_t blocks = pd::array_blocks_for(bitset_words(nr_bits), sizeof(pd::le64));
  return blocks + blocks / 100 + 1;
}

}  // namespace

struct era_metadata::changes {
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

era_metadata::era_metadata(pd::block_store& store, std::uint32_t block_size,
                           std::size_t cache_blocks)
    : store_(store), block_size_(block_size), cache_blocks_(cache_blocks) {
  pd::block first;
  store_.read(superblock_location, first);
  if (pd::is_zero(first))
    format();
  else
    open(first);
}

era_metadata::~era_metadata() = default;

std::optional<pd::block_nr> era_metadata::snapshot() const noexcept {
  if (committed_.metadata_snap.value == 0) return {};
  return committed_.metadata_snap;
}

std::uint64_t era_metadata::nr_used() const { return changes_->tx.counts().nr_used(); }
std::uint64_t era_metadata::nr_metadata_blocks() const { return changes_->tx.counts().nr_blocks(); }

// --- Opening, and the way of a change

void era_metadata::format() {
  changes_ = std::make_unique<changes>(store_, cache_blocks_);
  now_ = {};
  now_.writeset_tree_root = changes_->writesets.make();
  now_.era_array_root = changes_->eras.make();
  commit();
}

void era_metadata::open(const pd::block& first) {
  const auto refuse = [&](std::string_view why) {
    throw pd::invalid_input(fmt::format("{}: {}; see era_check", store_.name(), why));
  };
  if (const auto wrong = validate_superblock(first, superblock_location)) refuse(wrong->text);
  const auto& sb = first.as<superblock>();
  if (const auto wrong = check_superblock(sb, store_.nr_blocks(), superblock_copy::live);
      !wrong.empty())
    refuse(wrong.front().text);
  if (sb.data_block_size != block_size_)
    throw pd::invalid_input(fmt::format("{}: the metadata is for blocks of {} sectors, not {}",
                                        store_.name(), std::uint32_t{sb.data_block_size},
                                        block_size_));
  superblock_ = first;
  committed_ = {sb.nr_blocks,      sb.current_era,          sb.current_nr_bits,
                {sb.current_root}, {sb.writeset_tree_root}, {sb.era_array_root},
                {sb.metadata_snap}};
  give_up_changes();
}

void era_metadata::give_up_changes() {
  has_digested_ = false;
  now_ = committed_;
  changes_.reset();
  changes_ =
      std::make_unique<changes>(store_, cache_blocks_, superblock_.as<superblock>().space_map);
  used_at_commit_ = changes_->tx.counts().nr_used();
}

// The superblock is built between the two phases, from what the first one says of the space map.
void era_metadata::commit() {
  pd::block written{};
  auto& sb = written.as<superblock>();
  sb.magic = superblock_magic;
  sb.version = superblock_version;
  sb.data_block_size = block_size_;
  sb.metadata_block_size = sectors_per_metadata_block;
  sb.nr_blocks = now_.nr_blocks;
  sb.current_era = now_.current_era;
  sb.current_nr_bits = now_.current_nr_bits;
  sb.current_root = now_.current_root.value;
  sb.writeset_tree_root = now_.writeset_tree_root.value;
  sb.era_array_root = now_.era_array_root.value;
  sb.metadata_snap = now_.metadata_snap.value;
  try {
    sb.space_map = changes_->tx.prepare();
    changes_->tx.commit(superblock_kind, written);
  } catch (const pd::device_error&) {
    // It is unknown which part of the commit is on the device.
    failed_ = true;
    throw;
  }
  superblock_ = written;
  committed_ = now_;
  used_at_commit_ = changes_->tx.counts().nr_used();
  has_digested_ = false;
  ++nr_commits_;
}

// Changes and commits; if that fails, the last commit stays. Digestion that nobody has committed
// yet may have taken the room for it: then it is given up, to be done again.
template <class Change>
void era_metadata::change(Change how) {
  const bool had_digested = has_digested_;
  try {
    change_once(how);
  } catch (const pd::no_space&) {
    if (!had_digested) throw;
    change_once(how);
  }
}

template <class Change>
void era_metadata::change_once(Change how) {
  if (failed_)
    throw pd::device_error(fmt::format(
        "{}: the metadata device has failed; nothing is written to it until it is opened again",
        store_.name()));
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
void era_metadata::leave_room(reserve kept) const {
  const auto& counts = changes_->tx.counts();
  std::uint64_t room = 6 + 2 * pd::bitmaps_for(counts.nr_blocks());
  room += kept == reserve::for_resume_too ? blocks_of_bitset(now_.nr_blocks) : 2;
  if (counts.nr_used() > used_at_commit_ && counts.nr_blocks() - counts.nr_used() < room)
    throw pd::no_space(
        fmt::format("{}: {} of {} metadata blocks would be in use, and {} are kept free for writes "
                    "and digestion; drop the snapshot, digest, or take a larger metadata device",
                    store_.name(), counts.nr_used(), counts.nr_blocks(), room));
}

// A device that cannot be resumed can neither digest nor drop its snapshot. So a resume finds the
// room itself: by digestion as a resumed device does it, and then, if that is not enough, by
// digestion that takes from the reserve for a resume what a snapshot makes it copy.
template <class Change>
void era_metadata::change_and_make_room(bool must_leave_room, Change how) {
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
void era_metadata::digest_everything(reserve kept) try {
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

// --- Eras

void era_metadata::begin_era_of(std::uint32_t nr_blocks) {
  // A device that shrinks may need the blocks that this frees; one that grows keeps its old size
  // unless its new era fits, too.
  if (nr_blocks < now_.nr_blocks) change_and_make_room(false, [&] { resize(nr_blocks); });
  const bool grows = nr_blocks > now_.nr_blocks;
  change_and_make_room(grows, [&] {
    if (grows) resize(nr_blocks);
    roll_over();
  });
}

void era_metadata::begin_era() {
  change([&] {
    roll_over();
    leave_room();
    commit();
  });
}

void era_metadata::archive() {
  change([&] {
    archive_current();
    commit();
  });
}

void era_metadata::mark(std::span<const origin_range> parts) {
  change([&] {
    for (const origin_range part : parts)
      now_.current_root = changes_->bits.set(now_.current_root, pd::range{part.begin, part.end});
    commit();
  });
}

void era_metadata::commit_digestion() {
  change([&] { commit(); });
}

void era_metadata::archive_current() {
  if (now_.current_root.value == 0) return;
  // Inserting would replace the existing writeset and lose its writes.
  if (changes_->writesets.lookup(now_.writeset_tree_root, now_.current_era))
    throw pd::damaged_metadata(
        fmt::format("{}: era {} is the current one and has an archived writeset", store_.name(),
                    now_.current_era));
  const writeset_value value{now_.current_nr_bits, now_.current_root.value};
  now_.writeset_tree_root =
      changes_->writesets.insert(now_.writeset_tree_root, now_.current_era, value);
  now_.current_root = {0};
}

void era_metadata::roll_over() {
  if (now_.current_era >= max_current_era)
    throw pd::invalid_input(
        fmt::format("{}: era {} is the last one that there can be; the device needs new metadata",
                    store_.name(), now_.current_era));
  archive_current();
  now_.current_root = changes_->bits.make(now_.nr_blocks);
  now_.current_nr_bits = now_.nr_blocks;
  ++now_.current_era;
}

void era_metadata::resize(std::uint32_t nr_blocks) {
  // Eras of blocks that are cut off are lost, and the blocks may come back: from the beginning.
  now_.digesting.reset();
  now_.era_array_root =
      changes_->eras.resize(now_.era_array_root, now_.nr_blocks, nr_blocks, pd::le32(0));
  now_.nr_blocks = nr_blocks;
}

// After a rollover that was committed: the copy has an empty current writeset, which is not held.
void era_metadata::take_snapshot() {
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

void era_metadata::drop_snapshot() {
  if (now_.metadata_snap.value == 0) throw pd::invalid_input("there is no metadata snapshot");
  change([&] {
    const pd::block_ptr copy = changes_->tx.read(superblock_kind, now_.metadata_snap);
    const auto& sb = copy->content.as<superblock>();
    // The checksum was right when the block was read, or the block was made here.
    if (sb.magic != superblock_magic ||
        !check_superblock(sb, store_.nr_blocks(), superblock_copy::of_snapshot).empty())
      throw pd::damaged_metadata(
          fmt::format("{}: the metadata snapshot's superblock in block {} is wrong", store_.name(),
                      now_.metadata_snap));
    changes_->writesets.release({sb.writeset_tree_root});
    changes_->eras.release({sb.era_array_root});
    changes_->tx.counts().decrement(now_.metadata_snap);
    now_.metadata_snap = {0};
    commit();
  });
}

// --- Digestion

bool era_metadata::digest() {
  auto progress = digest_progress::none_left;
  change_once([&] {
    progress = digest_step();
    if (progress != digest_progress::changed) return;
    has_digested_ = true;
    leave_room();
  });
  return progress != digest_progress::none_left;
}

std::uint64_t era_metadata::digest_and_commit(std::uint64_t steps) {
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
bool era_metadata::begin_digestion() {
  const auto lowest = changes_->writesets.lowest(now_.writeset_tree_root);
  if (!lowest) return false;
  // The array would get an era that has not begun. The writeset stays, so that no write is lost.
  if (*lowest > now_.current_era)
    throw pd::damaged_metadata(
        fmt::format("{}: there is a writeset of era {}, and the current era is {}", store_.name(),
                    *lowest, now_.current_era));
  const auto value = changes_->writesets.lookup(now_.writeset_tree_root, *lowest);
  now_.digesting = {{static_cast<std::uint32_t>(*lowest)}, *value};
  return true;
}

// Looks at the rest of one bitset block, up to the first block of the era array that has a mark.
era_metadata::digest_progress era_metadata::digest_step() {
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
void era_metadata::digest_blocks(era_nr era, const std::vector<std::uint64_t>& marked) {
  const std::uint64_t block = marked.front() / eras_per_array_block;
  const std::uint64_t first = block * eras_per_array_block;
  now_.era_array_root =
      changes_->eras.change_block(now_.era_array_root, block, [&](std::span<pd::le32> eras) {
        if (marked.back() - first >= eras.size())
          throw pd::damaged_metadata(
              fmt::format("{}: block {} of the era array is too short", store_.name(), block));
        for (const std::uint64_t b : marked)
          eras[b - first] = std::max<std::uint32_t>(eras[b - first], era.value);
      });
}

}  // namespace era
