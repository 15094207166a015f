// SPDX-License-Identifier: GPL-3.0-or-later
// The metadata of a device as it changes: formatted, opened, and changed by one commit after the
// other. Each call does what the kernel's target does (doc/format.md).
//
//   open or format --> (begin_era, mark, digest, take and drop snapshots)... --> archive
//                      each commits, or leaves what the last commit left
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "era/format/superblock.h"
#include "era/format/writeset.h"
#include "persistent-data/io/block_store.h"

namespace era {

// For one thread at a time. All that change it throw pd::no_space, pd::damaged_metadata and
// pd::device_error; then the last commit stands. After the device has failed in a commit, or if the
// last commit cannot be read back, nothing is written any more, and each of them throws.
class era_metadata {
 public:
  // Formats the device if its superblock is all zeros. block_size: sectors, a multiple of 8 above
  // 0. Throws pd::invalid_input, too. The store has to outlive it.
  era_metadata(pd::block_store&, std::uint32_t block_size, std::size_t cache_blocks);
  ~era_metadata();
  era_metadata(const era_metadata&) = delete;
  era_metadata& operator=(const era_metadata&) = delete;

  // As it was committed last.
  std::uint32_t nr_blocks() const noexcept { return committed_.nr_blocks; }
  era_nr current_era() const noexcept { return {committed_.current_era}; }
  std::optional<pd::block_nr> snapshot() const noexcept;
  bool has_failed() const noexcept { return failed_; }
  // Metadata blocks, digestion that is not committed yet included.
  std::uint64_t nr_used() const;
  std::uint64_t nr_metadata_blocks() const;
  // By any thread.
  std::uint64_t nr_commits() const noexcept { return nr_commits_; }

  // Begins an era for a device that is resumed with nr_blocks blocks. If there is not enough room,
  // it makes room by digestion.
  void begin_era_of(std::uint32_t nr_blocks);
  // Archives the current writeset and begins the next era.
  void begin_era();
  // Archives the current writeset; there is none afterwards.
  void archive();
  // Marks origin blocks as written in the current era, each range within one bitset block.
  void mark(std::span<const origin_range>);
  // There must be no metadata snapshot, and the era must have just begun.
  void take_snapshot();
  void drop_snapshot();
  // Commits what has been digested.
  void commit_digestion();

  // One step, as target::digest() explains it; commits nothing. Returns false if there is no
  // archived writeset.
  bool digest();
  // Calls digest() up to `steps` times, and commits. Returns the number of steps done.
  std::uint64_t digest_and_commit(std::uint64_t steps);

 private:
  // A writeset on its way into the era array.
  struct digestion {
    era_nr era;
    writeset_value writeset;
    std::uint64_t next = 0;  // the array has the bits below
  };
  // The superblock's content except for the space map, and how far digestion is.
  struct state {
    std::uint32_t nr_blocks = 0, current_era = 0, current_nr_bits = 0;
    pd::block_nr current_root{}, writeset_tree_root{}, era_array_root{}, metadata_snap{};
    std::optional<digestion> digesting{};
  };
  enum class digest_progress { none_left, nothing_found, changed };
  // The tools to change it with, over a transaction.
  struct changes;

  void format();
  void open(const pd::block& first);
  void give_up_changes();
  void commit();
  template <class Change>
  void change(Change);
  template <class Change>
  void change_once(Change);
  // The blocks that stay free.
  enum class reserve { for_changes, for_resume_too };
  void leave_room(reserve = reserve::for_resume_too) const;
  template <class Change>
  void change_and_make_room(bool must_leave_room, Change);

  void archive_current();
  void digest_everything(reserve);
  void roll_over();
  void resize(std::uint32_t nr_blocks);
  bool begin_digestion();
  digest_progress digest_step();
  void digest_blocks(era_nr, const std::vector<std::uint64_t>& marked);

  pd::block_store& store_;
  const std::uint32_t block_size_;
  const std::size_t cache_blocks_;
  std::unique_ptr<changes> changes_;
  state now_, committed_;
  pd::block superblock_{};     // as it was committed last
  bool has_digested_ = false;  // since the last commit
  std::uint64_t used_at_commit_ = 0;
  bool failed_ = false;
  std::atomic<std::uint64_t> nr_commits_ = 0;
};

}  // namespace era
