// SPDX-License-Identifier: GPL-3.0-or-later
// Backups of changed blocks, for the agent: night after night the blocks that era_invalidate lists
// are copied from a snapshot of the data, while writers never stop. A block is lost if the backup
// then differs from the snapshot.
#pragma once

#include <atomic>
#include <fstream>
#include <functional>
#include <random>

#include "functional-tests/kernel/agent/device_mapper.h"
#include "functional-tests/kernel/agent/questions.h"

namespace era::test {

// The order of a night's steps.
enum class night_order {
  suspend,     // era(7): suspend, data snapshot, resume, metadata snapshot, list
  driver,      // the same, by snapshot_driver
  checkpoint,  // end the era by a message, data snapshot, metadata snapshot, list
  data_first   // data snapshot, metadata snapshot, which ends the era, too, list
};

inline night_order order_of(const std::string& name) {
  if (name == "suspend") return night_order::suspend;
  if (name == "driver") return night_order::driver;
  if (name == "checkpoint") return night_order::checkpoint;
  if (name == "data_first") return night_order::data_first;
  die("there is no order " + name);
}

// Write blocks all the time, each in a thread of its own, with a number that no other write has.
class number_writers {
 public:
  number_writers(std::size_t how_many, std::uint64_t nr_blocks, std::uint64_t sectors,
                 unsigned seed) {
    for (std::size_t i = 0; i < how_many; ++i)
      threads_.emplace_back([this, i, how_many, nr_blocks, sectors, seed] {
        std::mt19937_64 random(seed + i);
        const aligned_buffer buffer(sectors * sector_size);
        const int fd = ::open(device_mapper::path("era").c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC);
        for (std::uint64_t number = i + 1; !stop_; number += how_many) {
          std::memcpy(buffer.bytes.get(), &number, sizeof number);
          const auto size = static_cast<ssize_t>(sectors * sector_size);
          const auto at = static_cast<off_t>(random() % nr_blocks * sectors * sector_size);
          if (::pwrite(fd, buffer.bytes.get(), static_cast<std::size_t>(size), at) != size)
            failed_ = true;
          ++writes_;
        }
        ::close(fd);
      });
  }
  ~number_writers() {
    stop_ = true;
    for (std::thread& t : threads_) t.join();
  }
  number_writers(const number_writers&) = delete;
  number_writers& operator=(const number_writers&) = delete;

  std::uint64_t writes() const { return writes_; }
  bool failed() const { return failed_; }

 private:
  std::atomic<bool> stop_ = false, failed_ = false;
  std::atomic<std::uint64_t> writes_ = 0;
  std::vector<std::thread> threads_;
};

class backup_nights {
 public:
  // answer: prints a line. sectors: of a block.
  backup_nights(device_mapper& dm, std::uint64_t nr_blocks, std::uint64_t sectors,
                std::function<void(const std::string&)> answer)
      : dm_(dm),
        nr_blocks_(nr_blocks),
        block_bytes_(sectors * sector_size),
        answer_(std::move(answer)) {}

  void run(std::uint64_t nights, unsigned seed, night_order order) {
    std::uint64_t lost = 0, copied = 0, writes = 0;
    {
      number_writers writers(8, nr_blocks_, block_bytes_ / sector_size, seed);
      const aligned_buffer data(nr_blocks_ * block_bytes_);
      std::vector<char> backup;
      std::uint32_t last = 0;
      for (std::uint64_t night = 0; night < nights && wrong_ == 0; ++night) {
        while (writers.writes() < (night + 1) * 16 && !writers.failed()) std::this_thread::yield();
        std::vector<bool> listed;
        const std::uint32_t next = snapshot_and_list(order, last, data.bytes.get(), listed);
        if (backup.empty()) backup.assign(data.bytes.get(), data.bytes.get() + size());
        for (std::uint64_t b = 0; b < nr_blocks_; ++b) {
          char* to = backup.data() + b * block_bytes_;
          const char* from = data.bytes.get() + b * block_bytes_;
          if (listed[b]) std::memcpy(to, from, block_bytes_), ++copied;
          // A lost block is copied after all, so that it is counted once.
          if (std::memcmp(to, from, block_bytes_) != 0) std::memcpy(to, from, block_bytes_), ++lost;
        }
        last = next;
      }
      if (writers.failed()) wrong("a write failed");
      writes = writers.writes();
    }
    if (wrong_ == 0)
      answer_("nights " + std::to_string(nights) + ", " + std::to_string(writes) + " writes, " +
              std::to_string(copied) + " blocks copied, " + std::to_string(lost) + " lost");
  }

 private:
  std::uint64_t size() const { return nr_blocks_ * block_bytes_; }

  // Returns the era to ask for in the next night.
  std::uint32_t snapshot_and_list(night_order order, std::uint32_t since, char* data,
                                  std::vector<bool>& listed) {
    std::uint32_t next = 0;
    switch (order) {
      case night_order::suspend:
        next = current_era(dm_) + 1;
        expect_done("suspend", dm_.suspend("era"));
        read_origin(data);
        expect_done("resume", dm_.resume("era"));
        list(since, listed);
        break;
      case night_order::driver:
        next = drive(data);
        ask(since, listed);
        if (const program_result dropped = run_program("snapshot_driver era drop");
            dropped.status != 0)
          wrong(dropped.output);
        break;
      case night_order::checkpoint:
        expect_done("checkpoint", dm_.message("era", "checkpoint"));
        next = current_era(dm_);
        read_origin(data);
        list(since, listed);
        break;
      case night_order::data_first:
        read_origin(data);
        list(since, listed);
        next = current_era(dm_);
        break;
    }
    return next;
  }

  void list(std::uint32_t since, std::vector<bool>& listed) {
    expect_done("take_metadata_snap", dm_.message("era", "take_metadata_snap"));
    ask(since, listed);
    expect_done("drop_metadata_snap", dm_.message("era", "drop_metadata_snap"));
  }

  void ask(std::uint32_t since, std::vector<bool>& listed) {
    std::string output;
    if (!list_changed(since, nr_blocks_, listed, output)) wrong("invalidate: " + output);
  }

  // Leaves the metadata snapshot. Returns the next era.
  std::uint32_t drive(char* data) {
    const std::string snapshot = "/snapshot";
    const auto [status, output] =
        run_program("snapshot_driver era snapshot 600000 'dd if=/dev/vdb of=" + snapshot +
                    " iflag=direct bs=" + std::to_string(block_bytes_) +
                    " count=" + std::to_string(nr_blocks_) + " 2>&1' take");
    std::ifstream copy(snapshot, std::ios::binary);
    const std::size_t next = output.find("next ");
    if (status != 0 || next == output.npos ||
        !copy.read(data, static_cast<std::streamsize>(size()))) {
      wrong("snapshot: " + output);
      return 0;
    }
    return static_cast<std::uint32_t>(std::stoul(output.substr(next + 5)));
  }

  // Reads the device below "data", as a snapshot of it would have it.
  void read_origin(char* to) const {
    const int fd = ::open("/dev/vdb", O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (fd < 0 || ::pread(fd, to, size(), 0) != static_cast<ssize_t>(size())) die("/dev/vdb");
    ::close(fd);
  }

  void expect_done(const char* what, int error) {
    if (error) wrong(std::string(what) + ": " + std::strerror(error));
  }

  void wrong(const std::string& text) {
    ++wrong_;
    answer_("wrong " + text.substr(0, 400));
  }

  device_mapper& dm_;
  std::uint64_t nr_blocks_, block_bytes_;
  std::function<void(const std::string&)> answer_;
  int wrong_ = 0;
};

}  // namespace era::test
