// SPDX-License-Identifier: GPL-3.0-or-later
// The device-mapper target era in user space: a device that remembers in which era each of its
// blocks was last written. What it does at each call is what the kernel's does (doc/format.md); it
// does nothing by itself: digestion moves when it is stepped.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "era/dm_target/fair_mutex.h"
#include "era/format/superblock.h"
#include "era/format/writeset.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_store.h"
#include "persistent-data/transaction/array.h"
#include "persistent-data/transaction/bitset.h"
#include "persistent-data/transaction/btree.h"
#include "persistent-data/transaction/transaction.h"

namespace era {

// The device whose writes are tracked. Sectors of 512 bytes. Any number of threads; each throws
// device_error.
class origin_device {
 public:
  virtual ~origin_device() = default;
  virtual void read(std::uint64_t sector, std::uint64_t count, std::byte* data) = 0;
  virtual void write(std::uint64_t sector, std::uint64_t count, const std::byte* data) = 0;
  virtual void discard(std::uint64_t sector, std::uint64_t count) = 0;
  virtual void flush() = 0;
};

struct target_status {
  std::uint64_t used, total;  // metadata blocks
  era_nr current_era;
  std::optional<pd::block_nr> held;  // the metadata snapshot
};

// In the order: construct, resume, any number of reads, writes and messages, suspend, resume, ...
//
// read, write, discard and flush may be called by any number of threads at the same time, along
// with messages and digestion by others; writes that wait together share a commit.
//
// Besides invalid_input, calls throw pd::no_space (a full metadata device: the last commit is
// whole, and the write is not acknowledged; some blocks are kept free so that digestion can make
// room and that the device can be resumed after a power cut), pd::damaged_metadata and
// pd::device_error. Writes that share a commit succeed and fail each by itself. A write or discard
// that does not fit into one commit is marked in several; if it fails in the end, some of its
// blocks stay marked. After the device has failed in a commit, or when the last commit was read
// back, nothing is written to the metadata any more: writes to blocks that are marked go on, other
// calls that change or commit something fail.
class target {
 public:
  struct geometry {
    std::uint32_t block_size;  // sectors, a multiple of 8 above 0
    std::uint64_t length;      // sectors
  };

  // Metadata blocks in memory; a megabyte: the trees' upper levels and what is changed often.
  static constexpr std::size_t usual_cache_blocks = 256;

  // Formats the metadata if its superblock is all zeros. The devices have to outlive the target.
  target(pd::block_store& metadata, origin_device&, const geometry&,
         std::size_t cache_blocks = usual_cache_blocks);
  ~target();
  target(const target&) = delete;
  target& operator=(const target&) = delete;

  // The length takes effect with the next resume, as a reloaded table does.
  void set_length(std::uint64_t sectors);
  void resume();
  void suspend();
  bool is_resumed() const noexcept { return resumed_; }

  // Returns when the block's mark is durable and the origin has written.
  void write(std::uint64_t sector, std::uint64_t count, const std::byte* data);
  // The same for data that the caller writes to the origin itself, in pieces: write_origin is
  // called once the blocks are marked, and the era does not end before it returns.
  void write(std::uint64_t sector, std::uint64_t count, const std::function<void()>& write_origin);
  void discard(std::uint64_t sector, std::uint64_t count);
  void read(std::uint64_t sector, std::uint64_t count, std::byte* data);
  void flush();

  // checkpoint, take_metadata_snap, drop_metadata_snap; in any case of letters.
  void message(std::string_view);

  // Commits, as the kernel's does; so it fails where that fails.
  target_status status();
  // As dmsetup prints them behind the name of the target.
  std::string status_line();
  std::string table_line(std::string_view metadata, std::string_view origin) const;

  // Works archived writesets into the era array, oldest first, in up to `steps` steps. Returns how
  // many steps it took: fewer than asked if no archived writeset is left, if the device is
  // suspended, or after a commit that failed. A step looks at the next bits of the writeset, up to
  // 32,576 of them (a bitset block). If it finds one that is set, it changes one block of the era
  // array; if the writeset has none any more, it drops the writeset; else it does no more. Other
  // calls come in between steps.
  //
  // Commits nothing. If it throws, digestion continues from the last commit: after pd::no_space,
  // commit (status) and ask for fewer steps at a time.
  std::uint64_t digest(std::uint64_t steps);
  // The same, and commits: the steps that it returns are on disk. Throws pd::no_space if so many do
  // not fit into a commit; then what was digested since the last commit is to be done again.
  std::uint64_t digest_and_commit(std::uint64_t steps);

  // As it was committed last: a write that begins after this is listed in this era or a later one.
  era_nr current_era() const;
  std::uint32_t nr_blocks() const;
  std::uint64_t nr_commits() const noexcept { return nr_commits_; }
  std::uint64_t nr_marked() const noexcept { return nr_marked_; }

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
  struct waiting_write;

  void open_or_format();
  void format();
  void open(const pd::block& first);
  void give_up_changes();
  void commit();
  template <class Change>
  void change(Change);
  template <class Change>
  void change_once(Change);
  // What stays free.
  enum class reserve { for_changes, for_resume_too };
  void leave_room(reserve = reserve::for_resume_too) const;
  template <class Change>
  void change_and_make_room(bool must_leave_room, Change);

  std::uint32_t blocks_for(std::uint64_t sectors) const;
  pd::range blocks_of(std::uint64_t sector, std::uint64_t count) const;
  void require_resumed() const;

  std::shared_lock<std::shared_mutex> stay_in_era();
  std::unique_lock<std::shared_mutex> end_era();
  template <class Request>
  void mark_and_do(std::uint64_t sector, std::uint64_t count, const Request&);
  void mark(pd::range blocks);
  void mark_together(std::span<waiting_write* const>);
  void mark_in_parts(pd::range blocks);
  void mark_in_one_commit(std::span<const pd::range> blocks);
  bool are_marked(pd::range blocks) const noexcept;
  void set_marked(pd::range blocks) noexcept;
  void clear_marks(std::uint32_t nr_blocks);

  void archive_current();
  void digest_everything(reserve);
  void roll_over();
  void resize(std::uint32_t nr_blocks);
  void take_metadata_snap();
  void drop_metadata_snap();
  bool begin_digestion();
  digest_progress digest_step();
  void digest_blocks(era_nr, const std::vector<std::uint64_t>& marked);

  pd::block_store& metadata_;
  origin_device& origin_;
  const std::uint32_t block_size_;
  const std::size_t cache_blocks_;
  std::uint64_t length_;
  std::atomic<bool> resumed_ = false;

  // Held shared by a write from the look at its mark until the origin has written: an era does not
  // end in between. Taken before changing_.
  std::shared_mutex era_ends_;
  // Held while one waits for era_ends_, so that writes cannot pass whoever wants to end an era:
  // they could go on for ever.
  std::mutex turn_;
  // For all below but the marks.
  mutable fair_mutex changing_;
  std::unique_ptr<changes> changes_;
  state now_, committed_;
  pd::block superblock_{};     // as it was committed last
  bool has_digested_ = false;  // since the last commit
  std::uint64_t used_at_commit_ = 0;
  bool failed_ = false;
  std::atomic<std::uint64_t> nr_commits_ = 0, nr_marked_ = 0;

  std::mutex waiting_mutex_;
  std::vector<waiting_write*> waiting_;

  // A bit for each block: was it marked in this era, and committed?
  std::vector<std::atomic<std::uint64_t>> marks_;
};

}  // namespace era
