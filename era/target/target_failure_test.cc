// SPDX-License-Identifier: GPL-3.0-or-later
// Each operation of the metadata device fails, each write of the origin, and the metadata device is
// full at every point: calls throw, acknowledged writes stay listed, the metadata stays sound.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>

#include "era/target/target.h"
#include "era/testing/round_trip.h"
#include "era/view/stripe.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/testing/recording_store.h"

namespace era {
namespace {

using pd::test::recording_store;
using pd::test::scratch_device;

constexpr std::uint32_t block_size = 8;

class noting_origin final : public origin_device {
 public:
  std::function<void(std::uint64_t block)> wrote;
  std::uint64_t operations = 0, failing_operation = 0;

  void read(std::uint64_t, std::uint64_t, std::byte*) override { operate(); }
  void write(std::uint64_t sector, std::uint64_t count, const std::byte*) override {
    operate();
    for (std::uint64_t b = sector / block_size; b * block_size < sector + count; ++b) wrote(b);
  }
  void discard(std::uint64_t sector, std::uint64_t count) override {
    write(sector, count, nullptr);
  }
  void flush() override { operate(); }

 private:
  void operate() {
    if (++operations == failing_operation) throw pd::device_error("origin: Input/output error");
  }
};

// A target over a metadata device, and what the origin has written through it.
class tracked_device {
 public:
  explicit tracked_device(std::uint64_t metadata_blocks) : disk(metadata_blocks) {
    origin.wrote = [this](std::uint64_t block) {
      ++nr_writes_;
      if (target_) listed_[block] = target_->current_era().value;
    };
  }

  scratch_device disk;
  recording_store store{disk};
  noting_origin origin;
  // What went wrong that may; anything else than these two gets out.
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
    } catch (const refused&) {
      // Something that failed before was needed.
      EXPECT_GT(full + failed, 0u);
    }
    return false;
  }

  bool open(std::uint32_t nr_blocks) {
    return attempt([&] {
      target_ = std::make_unique<target>(
          store, origin, target::geometry{block_size, std::uint64_t{nr_blocks} * block_size});
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
    // What is cut off is forgotten.
    if (target_->nr_blocks() == nr_blocks) forget_from(nr_blocks);
    return done;
  }

  // Returns without an error if, and only if, the origin has written.
  bool write(std::uint64_t block, std::uint64_t count = 1) {
    const std::uint64_t before = nr_writes_;
    const bool done =
        attempt([&] { target_->write(block * block_size, count * block_size, nullptr); });
    EXPECT_EQ(nr_writes_ - before, done ? count : 0);
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
    const std::uint32_t wanted = nr_blocks != 0 ? nr_blocks : 3000;
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
    if (what < 8)
      write(block, std::min(1 + arg % 3, size - block));
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
      resize(1 + arg % 4000);
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
    target_->digest(~std::uint64_t{0});
    target_->status();
    ASSERT_TRUE(write(nr_blocks / 2));
    expect_sound();
  }

  // What is on the device.
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
    const auto eras =
        m->sb.nr_blocks == 0 ? std::span<const std::uint32_t>() : folder.fold(0, findings);
    for (const auto& [block, era] : listed_)
      if (block < eras.size()) {
        EXPECT_GE(eras[block], era) << "block " << block;
      }
  }

  bool holds_snapshot() {
    bool holds = false;
    attempt([&] { holds = target_->status().held.has_value(); });
    return holds;
  }
  void forget_from(std::uint64_t block) {
    listed_.erase(listed_.lower_bound(block), listed_.end());
  }

  std::unique_ptr<target> target_;
  std::map<std::uint64_t, std::uint32_t> listed_;
  std::uint64_t nr_writes_ = 0;
};

// How many operations there were to fail.
template <class Fail>
std::uint64_t fail_each(unsigned seed, Fail fail) {
  for (std::uint64_t n = 1;; ++n) {
    SCOPED_TRACE(fmt::format("seed {}, operation {}", seed, n));
    tracked_device d(160);
    const std::uint64_t& operations = fail(d, n);
    d.work(seed);
    const bool has_failed = operations >= n;
    EXPECT_EQ(d.failed > 0, has_failed);
    EXPECT_EQ(d.full, 0u);
    d.judge();
    if (!has_failed || ::testing::Test::HasFailure()) return n;
  }
}

TEST(TargetFailure, OfAnOperationOfTheMetadataDevice) {
  for (unsigned seed = 1; seed <= 3; ++seed)
    for (const bool for_good : {false, true}) {
      const std::uint64_t operations = fail_each(
          seed, [&](tracked_device & d, std::uint64_t n) -> auto& {
            d.store.failing_operation = n;
            d.store.fails_for_good = for_good;
            return d.store.operations;
          });
      EXPECT_GT(operations, 100u);
    }
}

// The block may be listed, and the next write of it goes on.
TEST(TargetFailure, OfAnOperationOfTheOrigin) {
  const std::uint64_t operations = fail_each(
      4, [](tracked_device & d, std::uint64_t n) -> auto& {
        d.origin.failing_operation = n;
        return d.origin.operations;
      });
  EXPECT_GT(operations, 15u);
}

// Blocks of the metadata device that something else holds, as far as the space map says.
class occupied_blocks {
 public:
  // Leaves so many free, or as few as there are.
  occupied_blocks(recording_store& store, std::uint64_t left) : store_(store) {
    change([&](pd::counted_blocks& counts) {
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
    change([&](pd::counted_blocks& counts) {
      for (const pd::block_nr b : blocks_) counts.decrement(b);
    });
  }

 private:
  void change(const std::function<void(pd::counted_blocks&)>& how) {
    pd::block b;
    store_.read(superblock_location, b);
    pd::transaction tx(store_, 64, b.as<superblock>().space_map);
    how(tx.counts());
    tx.commit(superblock_kind, [&](const pd::disk_sm_root& counts, pd::block& written) {
      written = b;
      written.as<superblock>().space_map = counts;
    });
  }

  recording_store& store_;
  std::vector<pd::block_nr> blocks_;
};

// What is kept free is enough for a snapshot's release and for digestion, which free more.
void expect_to_go_on(tracked_device& d) {
  if (!d->is_resumed()) {
    // It did not get the size that was wanted.
    d->set_length(std::uint64_t{d->nr_blocks()} * block_size);
    ASSERT_TRUE(d.resume());
  }
  d.message("drop_metadata_snap");
  while (d->digest(1) > 0) d->status();
  EXPECT_TRUE(d.write(0));
  EXPECT_TRUE(d.message("checkpoint"));
  EXPECT_TRUE(d.write(0));
}

TEST(TargetFull, AtEverySize) {
  // The era array, the current writeset, the space map, and what is kept free.
  constexpr std::uint64_t enough = 24;
  int full = 0, full_but_enough = 0;
  for (std::uint64_t blocks = 1; blocks <= 60; ++blocks)
    for (unsigned seed = 1; seed <= 20; ++seed) {
      SCOPED_TRACE(fmt::format("{} metadata blocks, seed {}", blocks, seed));
      tracked_device d(blocks);
      d.work(seed);
      EXPECT_EQ(d.failed, 0u);
      if (d.full == 0) continue;
      ++full;
      if (blocks >= enough) {
        ++full_but_enough;
        expect_to_go_on(d);
      }
      d.close();
      d.expect_sound();
    }
  EXPECT_GT(full, 400);
  EXPECT_GT(full_but_enough, 100);
}

// Something takes all free blocks but a few, at each point of a workload.
TEST(TargetFull, AtEveryPoint) {
  int full = 0;
  for (std::size_t point = 0; point <= 40; ++point)
    for (unsigned left = 0; left <= 20; ++left) {
      SCOPED_TRACE(fmt::format("{} steps, then {} blocks", point, left));
      tracked_device d(160);
      d.work(1 + left % 3, point);
      d.close();
      occupied_blocks occupied(d.store, left);
      d.work(100 + left, 40);
      EXPECT_EQ(d.failed, 0u);
      full += d.full > 0;
      d.close();
      occupied.give_back();
      d.judge();
    }
  EXPECT_GT(full, 200);
}

}  // namespace
}  // namespace era
