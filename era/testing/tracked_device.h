// SPDX-License-Identifier: GPL-3.0-or-later
// For tests of the target: a device that notes what was written through it, and a metadata device
// of which something else holds a part.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "era/dm_target/target.h"
#include "era/metadata/stripe.h"
#include "era/testing/open_metadata.h"
#include "era/testing/round_trip.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/testing/recording_store.h"
#include "persistent-data/testing/sanitized.h"
#include "persistent-data/transaction/transaction.h"

namespace era::test {

using pd::test::recording_store;
using pd::test::scratch_device;

// With a sanitizer, which looks for faults of memory, one case in five is enough.
inline constexpr unsigned one_of = is_sanitized ? 5 : 1;

inline constexpr std::uint32_t block_size = 8;  // sectors

class noting_origin final : public origin_device {
 public:
  std::function<void(pd::range blocks)> wrote;
  std::atomic<std::uint64_t> operations = 0;
  std::uint64_t failing_operation = 0;

  void read(std::uint64_t, std::uint64_t, std::byte*) override { operate(); }
  void write(std::uint64_t sector, std::uint64_t count, const std::byte*) override {
    operate();
    const std::lock_guard lock(one_at_a_time_);
    wrote({sector / block_size, (sector + count - 1) / block_size + 1});
  }
  void discard(std::uint64_t sector, std::uint64_t count) override {
    write(sector, count, nullptr);
  }
  void flush() override { operate(); }

 private:
  void operate() {
    if (++operations == failing_operation) throw pd::device_error("origin: Input/output error");
  }

  std::mutex one_at_a_time_;
};

struct sizes {
  std::uint64_t metadata_blocks;
  std::uint32_t origin_blocks = 3000;  // at first
  std::size_t cache_blocks = target::usual_cache_blocks;
};
inline constexpr sizes small{160};
// Several bitset blocks, and a cache that does not hold what a change needs.
inline constexpr sizes large{400, 3 * bits_per_bitset_block, 4};

// A target over a metadata device, and what the origin has written through it.
class tracked_device {
 public:
  explicit tracked_device(const sizes& s) : disk(s.metadata_blocks), sizes_(s) {
    origin.wrote = [this](pd::range blocks) {
      if (!target_) return;
      nr_written_ += blocks.size();
      if (listed_.size() < blocks.end) listed_.resize(blocks.end);
      std::fill(listed_.begin() + static_cast<std::ptrdiff_t>(blocks.begin),
                listed_.begin() + static_cast<std::ptrdiff_t>(blocks.end),
                target_->current_era().value);
    };
  }

  scratch_device disk;
  recording_store store{disk};
  noting_origin origin;
  // Errors that may happen; all others get out.
  std::size_t full = 0, failed = 0;

  target* operator->() const noexcept { return target_.get(); }
  bool is_open() const noexcept { return target_ != nullptr; }
  void close() { target_.reset(); }

  // Did it return without an error?
  bool attempt(const std::function<void()>& call) {
    try {
      call();
      return true;
    } catch (const pd::no_space&) {
      ++full;
    } catch (const pd::device_error&) {
      ++failed;
    } catch (const pd::invalid_input&) {
      // Something that failed before was needed.
      EXPECT_GT(full + failed, 0u);
    }
    return false;
  }

  bool open(std::uint32_t nr_blocks) {
    return attempt([&] {
      target_ = std::make_unique<target>(
          store, origin, target::geometry{block_size, std::uint64_t{nr_blocks} * block_size},
          sizes_.cache_blocks);
    });
  }

  bool resume() {
    const bool done = attempt([&] { target_->resume(); });
    EXPECT_EQ(target_->is_resumed(), done);
    return done;
  }

  bool resize(std::uint32_t nr_blocks) {
    const bool done = attempt([&] {
      target_->suspend();
      target_->set_length(std::uint64_t{nr_blocks} * block_size);
      target_->resume();
    });
    // Blocks that are cut off are forgotten.
    if (target_->nr_blocks() == nr_blocks) forget_from(nr_blocks);
    return done;
  }

  // Returns without an error if, and only if, the origin has written.
  bool write(std::uint64_t block, std::uint64_t count = 1) {
    const std::uint64_t before = nr_written_;
    const bool done =
        attempt([&] { target_->write(block * block_size, count * block_size, nullptr); });
    EXPECT_EQ(nr_written_ - before, done ? count : 0);
    return done;
  }
  bool discard(std::uint64_t block, std::uint64_t count) {
    const std::uint64_t before = nr_written_;
    const bool done = attempt([&] { target_->discard(block * block_size, count * block_size); });
    EXPECT_EQ(nr_written_ - before, done ? count : 0);
    return done;
  }

  bool message(const char* text) {
    const std::uint32_t before = target_->current_era().value;
    const bool done = attempt([&] { target_->message(text); });
    if (done && text[0] != 'd') {
      EXPECT_EQ(target_->current_era().value, before + 1);
    }
    return done;
  }

  // Some of everything that a target does.
  void work(unsigned seed, std::size_t steps = 40) {
    const std::uint32_t nr_blocks = disk[{0}].as<superblock>().nr_blocks;
    const std::uint32_t wanted = nr_blocks != 0 ? nr_blocks : sizes_.origin_blocks;
    // Twice, for what fails once.
    if (!open(wanted) && !open(wanted)) return;
    std::mt19937 random(seed);
    for (std::size_t i = 0; i < steps; ++i) step(static_cast<std::uint32_t>(random()));
    attempt([&] { target_->suspend(); });
    resume();
  }

  void step(std::uint32_t random) {
    if (!target_->is_resumed()) resume();
    const std::uint32_t size = std::max(1u, target_->nr_blocks());
    const std::uint32_t what = random % 16, arg = random / 16, block = arg % size;
    if (what < 7)
      write(block, std::min(1 + arg % 3, size - block));
    else if (what == 7)
      discard(block, 1 + arg % (size - block));
    else if (what < 10)
      message("checkpoint");
    else if (what == 10)
      message(holds_snapshot() ? "drop_metadata_snap" : "take_metadata_snap");
    else if (what < 13)
      attempt([&] { target_->digest(1 + arg % 4); });
    else if (what == 13)
      attempt([&] { target_->status(); });
    else if (what == 14)
      attempt([&] { target_->read(block * block_size, 1, nullptr); });
    else
      resize(1 + arg % (sizes_.origin_blocks + sizes_.origin_blocks / 3));
  }

  // After it is closed: sound, with all that was acknowledged; and so once more when a sound store
  // has had it open, and digested everything.
  void judge() {
    store.failing_operation = origin.failing_operation = 0;
    close();
    expect_sound();
    if (pd::is_zero(disk[{0}])) return;
    const std::uint32_t nr_blocks = disk[{0}].as<superblock>().nr_blocks;
    forget_from(nr_blocks);
    full = failed = 0;
    ASSERT_TRUE(open(std::max(100u, nr_blocks)));
    ASSERT_TRUE(resume());
    while (target_->digest(8) > 0) target_->status();
    ASSERT_TRUE(write(nr_blocks / 2));
    expect_sound();
  }

  // The content of the device.
  void expect_sound() const {
    if (pd::is_zero(disk[{0}])) {
      EXPECT_TRUE(listed_.empty());
      return;
    }
    EXPECT_EQ(test::findings_in(disk.path()), "");
    expect_listed();
  }

 private:
  void expect_listed() const {
    const pd::block_device opened = disk.open();
    pd::read_queue queue(opened.make_engine(), opened.nr_blocks());
    const auto m = open_metadata(queue, opened, source::live, [](const finding&) {});
    ASSERT_TRUE(m);
    stripe_folder folder(*m, opened);
    std::vector<finding> findings;
    for (std::uint64_t stripe = 0; stripe < nr_stripes(*m); ++stripe) {
      const std::uint64_t first = stripe * blocks_per_stripe;
      const auto eras = folder.fold(stripe, findings);
      for (std::size_t i = 0; i < eras.size() && first + i < listed_.size(); ++i)
        ASSERT_GE(eras[i], listed_[first + i]) << "block " << first + i;
    }
  }

  bool holds_snapshot() {
    bool holds = false;
    attempt([&] { holds = target_->status().held.has_value(); });
    return holds;
  }
  void forget_from(std::size_t block) { listed_.resize(std::min(listed_.size(), block)); }

  sizes sizes_;
  std::unique_ptr<target> target_;
  std::vector<std::uint32_t> listed_;  // the era of each block; 0: not written
  std::uint64_t nr_written_ = 0;
};

// Blocks of the metadata device that something else holds, as far as the space map says.
class occupied_blocks {
 public:
  // Leaves `left` blocks free, or fewer if fewer are free.
  occupied_blocks(recording_store& store, std::uint64_t left) : store_(store) {
    change([&](pd::space_map_editor& counts) {
      for (std::uint64_t free = counts.nr_blocks() - counts.nr_used(); free > left; --free) try {
          blocks_.push_back(counts.allocate());
        } catch (const pd::no_space&) {
          break;
        }
      // The commit takes some, and frees as many.
      for (int i = 0; i < 4 && !blocks_.empty(); ++i, blocks_.pop_back())
        counts.decrement(blocks_.back());
    });
  }
  void give_back() {
    change([&](pd::space_map_editor& counts) {
      for (const pd::block_nr b : blocks_) counts.decrement(b);
    });
  }

 private:
  void change(const std::function<void(pd::space_map_editor&)>& how) {
    pd::block b;
    store_.read(superblock_location, b);
    pd::transaction tx(store_, 64, b.as<superblock>().space_map);
    how(tx.counts());
    b.as<superblock>().space_map = tx.prepare();
    tx.commit(superblock_kind, b);
  }

  recording_store& store_;
  std::vector<pd::block_nr> blocks_;
};

}  // namespace era::test
