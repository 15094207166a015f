// SPDX-License-Identifier: GPL-3.0-or-later
// The device-mapper target era in user space: a device that remembers in which era each of its
// blocks was last written. Each call does what the kernel's target does (doc/format.md). Nothing
// happens by itself: digestion moves when it is stepped.
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

#include "era/dm_target/era_metadata.h"
#include "era/dm_target/fair_mutex.h"
#include "era/format/superblock.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_store.h"

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
  // Writes that are there at the same time, as requests are that wait for the kernel's worker: they
  // share commits. When all are marked, write_origin is called for each that could be, in order,
  // with its index; then the first error of the others is thrown.
  struct extent {
    std::uint64_t sector, count;
  };
  void write_together(std::span<const extent>,
                      const std::function<void(std::size_t)>& write_origin);
  void discard(std::uint64_t sector, std::uint64_t count);
  void read(std::uint64_t sector, std::uint64_t count, std::byte* data);
  void flush();

  // checkpoint, take_metadata_snap, drop_metadata_snap; in any case of letters.
  void message(std::string_view);

  // Commits, as the kernel's does, and fails if the commit fails.
  target_status status();
  // As dmsetup prints them after the name of the target.
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
  // The same, and commits: the steps that it returns are on disk. Throws pd::no_space if the steps
  // do not fit into one commit; then what was digested since the last commit is to be done again.
  std::uint64_t digest_and_commit(std::uint64_t steps);

  // As it was committed last: a write that begins after this is listed in this era or a later one.
  era_nr current_era() const;
  std::uint32_t nr_blocks() const;
  std::uint64_t nr_commits() const noexcept { return metadata_.nr_commits(); }
  std::uint64_t nr_marked() const noexcept { return nr_marked_; }

 private:
  struct waiting_write;

  origin_range blocks_of(std::uint64_t sector, std::uint64_t count) const;
  void require_resumed() const;

  std::shared_lock<std::shared_mutex> stay_in_era();
  std::unique_lock<std::shared_mutex> end_era();
  template <class Request>
  void mark_and_do(std::uint64_t sector, std::uint64_t count, const Request&);
  void mark(origin_range blocks);
  void mark(std::span<waiting_write> own);
  void mark_together(std::span<waiting_write* const>);
  void mark_in_parts(origin_range blocks);
  void mark_in_one_commit(std::span<const origin_range> blocks);
  bool are_marked(origin_range blocks) const noexcept;
  void set_marked(origin_range blocks) noexcept;
  void clear_marks(std::uint32_t nr_blocks);

  const std::uint32_t block_size_;
  std::uint64_t length_;
  std::atomic<bool> resumed_ = false;
  origin_device& origin_;

  // Locks, in the order in which a thread takes them; it may leave some out.
  //
  //   turn_           until era_ends_ is taken, so that writes cannot pass whoever wants to end an
  //                   era: they could go on for ever
  //   era_ends_       shared: writers hold it from the mark test until the origin write completes,
  //                   readers while they read; alone: by whoever ends the era or changes the length
  //   changing_       metadata_, and waiting writes as they are marked
  //   waiting_mutex_  waiting_
  std::mutex turn_;
  std::shared_mutex era_ends_;
  mutable fair_mutex changing_;
  std::mutex waiting_mutex_;

  era_metadata metadata_;
  std::vector<waiting_write*> waiting_;
  std::atomic<std::uint64_t> nr_marked_ = 0;
  // A bit for each block: was it marked in this era, and committed?
  std::vector<std::atomic<std::uint64_t>> marks_;
};

}  // namespace era
