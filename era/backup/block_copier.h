// SPDX-License-Identifier: GPL-3.0-or-later
// Copies blocks from the source of a backup to its target, and compares them afterwards.
//
//   blocks_to_copy -> pieces of up to 2 MiB -> reads under way -> writes under way
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "era/backup/backup_target.h"
#include "era/backup/blocks_to_copy.h"
#include "era/backup/data_device.h"
#include "era/format/units.h"

namespace era {

struct block_copier_options {
  std::uint32_t block_size = 0;  // sectors
  // A block that cannot be read does not end the copying.
  bool keep_going = false;
  // Called with the blocks of an error of the source, if it does not end the copying. `error` is an
  // errno.
  std::function<void(origin_range, int error)> unreadable = [](origin_range, int) {};
  // Called now and then with the bytes of the source that are done since the last call. It may
  // throw, which ends the copying.
  std::function<void(std::uint64_t bytes)> progress = [](std::uint64_t) {};
};

struct copy_report {
  std::uint64_t blocks = 0, bytes = 0;  // all that were to be copied
  std::uint64_t zero_bytes = 0;         // of those, zeros that needed no write
  // Blocks that could not be read whole, in ascending order. The target may have parts of them.
  std::vector<origin_range> unread;
};

// For one thread; borrows source and target. Takes up to 34 MiB.
class block_copier {
 public:
  // Requires a target that is at least as large as the source. The last block ends where the source
  // does.
  block_copier(const data_device& source, backup_target&, block_copier_options);
  // Waits for what is under way.
  ~block_copier();
  block_copier(const block_copier&) = delete;
  block_copier& operator=(const block_copier&) = delete;

  // Copies what is left of the blocks, one pass over them, and flushes the target. Throws
  // device_error if the target fails, or, unless it is to keep going, names the blocks of the
  // source that cannot be read.
  copy_report copy(blocks_to_copy&);

  // Reads the blocks of source and target again, except for those in copied.unread, and compares
  // them. Throws device_error at the first byte that differs, or cannot be read.
  void verify(blocks_to_copy&, const copy_report& copied);

 private:
  static constexpr std::size_t piece_bytes = std::size_t{2} << 20;

  struct piece {
    std::uint64_t offset = 0;  // bytes
    std::size_t bytes = 0, done = 0;
    std::size_t uses = 0;  // writes under way, and one while it is handed over
  };
  // Called with a slot whose data was read; [from, to) are bytes of the source.
  using data_sink = std::function<void(std::size_t slot, std::uint64_t from, std::uint64_t to)>;

  void read_all(blocks_to_copy&, const data_sink&);
  std::optional<piece> next_piece(blocks_to_copy&);
  void submit(std::size_t slot);
  void take_read(const data_sink&);
  void read_singly(std::size_t slot, int error, const data_sink&);
  int read_part(std::size_t slot, std::uint64_t from, std::uint64_t to);
  void write(std::size_t slot, std::uint64_t from, std::uint64_t to);
  void start_write(std::size_t slot, std::uint64_t from, std::uint64_t to, bool is_zero);
  void take_write();
  void release(std::size_t slot);
  void wait_for_writes() noexcept;
  void note_unread(std::uint64_t from, std::uint64_t to, int error);
  std::byte* data(std::size_t slot, std::uint64_t offset) const;

  const data_device& source_;
  backup_target& target_;
  const block_copier_options options_;
  const std::uint64_t block_bytes_;

  struct free_memory {
    void operator()(std::byte* p) const noexcept;
  };
  std::unique_ptr<std::byte, free_memory> memory_;
  std::unique_ptr<pd::io_engine> engine_, single_engine_;
  std::size_t max_reads_, max_writes_;
  std::vector<piece> pieces_;  // by slot
  std::vector<std::size_t> free_slots_;
  std::vector<std::size_t> slot_of_write_;  // by the tag of a write
  std::vector<std::size_t> free_tags_;
  std::size_t reads_ = 0, writes_ = 0;         // under way
  std::uint64_t run_begin_ = 0, run_end_ = 0;  // bytes of the run that is cut into pieces
  copy_report result_;
};

}  // namespace era
