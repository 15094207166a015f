// SPDX-License-Identifier: GPL-3.0-or-later
// Each operation of the metadata device fails, each write of the origin, and the metadata device is
// full at every point: calls throw, acknowledged writes stay listed, the metadata stays sound.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "era/dm_target/target.h"
#include "era/metadata/stripe.h"
#include "era/testing/round_trip.h"
#include "persistent-data/format/array_block.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/testing/recording_store.h"
#include "persistent-data/testing/sanitized.h"
#include "persistent-data/testing/watched_thread.h"
#include "persistent-data/transaction/transaction.h"

namespace era {
namespace {

using pd::test::recording_store;
using pd::test::scratch_device;
using pd::test::watched_thread;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

constexpr std::uint32_t block_size = 8;

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
constexpr sizes small{160};
// Several bitset blocks, and a cache that does not hold what a change needs.
constexpr sizes large{400, 3 * bits_per_bitset_block, 6};

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
    // What is cut off is forgotten.
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

// How many operations there were to fail.
// With a sanitizer, which looks for faults of memory, one case in five is enough.
constexpr unsigned one_of = is_sanitized ? 5 : 1;

// fail(device, n) sets operation n up to fail and returns the counter of operations.
template <class Fail>
std::uint64_t fail_each(unsigned seed, Fail fail, const sizes& s = small) {
  for (std::uint64_t n = 1;; n += one_of) {
    SCOPED_TRACE(fmt::format("seed {}, operation {}", seed, n));
    tracked_device d(s);
    const auto& operations = fail(d, n);
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

TEST(TargetFailure, OfAnOperationBetweenCommits) {
  const std::uint64_t operations = fail_each(
      5, [](tracked_device & d, std::uint64_t n) -> auto& {
        d.store.failing_operation = n;
        return d.store.operations;
      },
      large);
  EXPECT_GT(operations, 500u);
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
    b.as<superblock>().space_map = tx.prepare();
    tx.commit(superblock_kind, b);
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
      tracked_device d({blocks});
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
  unsigned full = 0;
  for (std::size_t point = 0; point <= 40; point += one_of)
    for (unsigned left = 0; left <= 20; ++left) {
      SCOPED_TRACE(fmt::format("{} steps, then {} blocks", point, left));
      tracked_device d(small);
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
  EXPECT_GT(full, 200 / one_of);
}

// Parts of a discard fit, others do not; blocks are evicted and read again.
TEST(TargetFull, WithSeveralBitsetBlocks) {
  int full = 0;
  for (std::uint64_t blocks = 100; blocks <= 170; blocks += 5)
    for (unsigned seed = 1; seed <= 4; ++seed) {
      SCOPED_TRACE(fmt::format("{} metadata blocks, seed {}", blocks, seed));
      tracked_device d({blocks, large.origin_blocks, large.cache_blocks});
      d.work(seed);
      EXPECT_EQ(d.failed, 0u);
      full += d.full > 0;
      d.close();
      d.expect_sound();
    }
  EXPECT_GT(full, 20);
}

// Digestion that is not committed has taken all free blocks; whatever needs some gives it up.
TEST(TargetFull, AChangeIsTriedAgainWithoutDigestion) {
  constexpr std::uint32_t nr_blocks = 60 * eras_per_array_block;
  const std::vector<std::function<bool(tracked_device&)>> changes = {
      [](auto& d) { return d.write(7); }, [](auto& d) { return d.message("checkpoint"); },
      [](auto& d) { return d.message("take_metadata_snap"); },
      [](auto& d) { return d.attempt([&] { d->status(); }); },
      [](auto& d) { return d.attempt([&] { d->suspend(); }) && d.resume(); }};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    SCOPED_TRACE(fmt::format("change {}", i));
    tracked_device d({110, nr_blocks});
    ASSERT_TRUE(d.open(nr_blocks) && d.resume() && d.write(0, nr_blocks));
    ASSERT_TRUE(d.message("checkpoint"));
    std::uint64_t steps = 0;
    while (d.attempt([&] { d->digest(1); })) ++steps;
    EXPECT_GT(steps, 10u);
    EXPECT_LT(steps, 60u);
    EXPECT_EQ(d->digest(steps), steps);
    EXPECT_TRUE(changes[i](d));
    if (d->status().held) {
      EXPECT_TRUE(d.message("drop_metadata_snap"));
    }
    d.judge();
  }
}

// What can be digested between two commits is never digested again: each round gets further.
TEST(TargetFull, DigestionContinuesFromTheLastCommit) {
  constexpr std::uint32_t nr_blocks = 60 * eras_per_array_block;
  tracked_device d({110, nr_blocks});
  ASSERT_TRUE(d.open(nr_blocks) && d.resume() && d.write(0, nr_blocks));
  ASSERT_TRUE(d.message("checkpoint"));
  std::uint64_t rounds = 0;
  for (bool is_done = false; !is_done && rounds < 100; ++rounds) {
    is_done = d.attempt([&] { d->digest(~std::uint64_t{0}); });
    ASSERT_TRUE(d.attempt([&] { d->status(); }));
    if (!is_done) {
      ASSERT_EQ(d->digest(10), 10u);
    }
    ASSERT_TRUE(d.attempt([&] { d->status(); }));
  }
  EXPECT_GT(rounds, 1u);
  EXPECT_LE(rounds, 7u);
  d.judge();
}

// Without and with digestion, and then with or without enough of what is kept free.
TEST(TargetFull, ADeviceGrowsIfThereIsRoomAfterDigestion) {
  constexpr std::uint64_t metadata_blocks = 120, eras = 20;
  constexpr std::uint32_t before = 20 * eras_per_array_block;
  std::size_t at_once = 0, after_digestion = 0, refused = 0;
  for (std::uint32_t more = 1; more < metadata_blocks; ++more) {
    SCOPED_TRACE(fmt::format("{} more blocks of the era array", more));
    tracked_device d({metadata_blocks});
    ASSERT_TRUE(d.open(before) && d.resume());
    for (std::uint64_t era = 1; era <= eras; ++era)
      ASSERT_TRUE(d.write(era * 900) && d.message("checkpoint"));
    const std::uint32_t wanted = before + more * eras_per_array_block;
    if (d.resize(wanted)) {
      EXPECT_EQ(d->nr_blocks(), wanted);
      // The next resume needs a bitset, and everything else 8.
      const target_status s = d->status();
      EXPECT_GE(s.total - s.used, 8 + wanted / bits_per_bitset_block);
      ++(s.used < 20 + more + 2 * eras ? after_digestion : at_once);
    } else {
      ++refused;
      EXPECT_EQ(d->nr_blocks(), before);
      d->set_length(std::uint64_t{before} * block_size);
      EXPECT_TRUE(d.resume());
    }
    d.judge();
  }
  EXPECT_GT(at_once, 10u);
  EXPECT_GT(after_digestion, 10u);
  EXPECT_GT(refused, 10u);
}

// The blocks of the current writeset, whose tree is one leaf: from the first to the last, if those
// between them are in it, too.
pd::range marked_in(const scratch_device& disk) {
  pd::range blocks;
  const pd::node_view leaf(disk[{disk[superblock_location].as<superblock>().current_root}]);
  for (std::uint32_t i = 0; i < leaf.size(); ++i) {
    const auto words = pd::array_values<pd::le64>(disk[leaf.child(i)]);
    for (std::uint64_t bit = 0; bit < bits_per_bitset_block; ++bit) {
      const std::uint64_t b = leaf.key(i) * bits_per_bitset_block + bit;
      if (!(words[bit / bits_per_word] >> bit % bits_per_word & 1)) continue;
      if (blocks.empty()) blocks = {b, b};
      EXPECT_EQ(blocks.end, b) << "blocks are missing before";
      blocks.end = b + 1;
    }
  }
  return blocks;
}

// A device of 33 bitset blocks whose metadata is nearly full. The cache holds few of them.
class crowded_device {
 public:
  static constexpr std::uint32_t bitset_blocks = 33;
  static constexpr std::uint32_t nr_blocks = bitset_blocks * bits_per_bitset_block;

  // Resumed while about `left` metadata blocks are free, if they are enough. prepare has the device
  // before they are taken.
  explicit crowded_device(
      std::uint64_t left, const std::function<void(tracked_device&)>& prepare = [](auto&) {}) {
    EXPECT_TRUE(device_.open(nr_blocks) && device_.resume());
    prepare(device_);
    device_.close();
    occupied_.emplace(device_.store, left);
    EXPECT_TRUE(device_.open(nr_blocks));
    device_.resume();
    EXPECT_EQ(device_.failed, 0u);
  }

  target* operator->() const noexcept { return device_.operator->(); }
  tracked_device& tracked() noexcept { return device_; }
  std::uint64_t nr_free() {
    const target_status s = device_->status();
    return s.total - s.used;
  }

  // Opens the device again, as after a power cut.
  void cut_power() {
    device_.close();
    EXPECT_TRUE(device_.open(nr_blocks));
  }

  // Where a bitset block of the current writeset is.
  pd::block_nr bitset_block(std::uint32_t i) {
    const auto& sb = device_.disk[superblock_location].as<superblock>();
    return pd::node_view(device_.disk[{sb.current_root}]).child(i);
  }

  // A write to each bitset block; all but the first wait together while the first is marked.
  // Returns the messages of those that failed.
  std::map<std::uint32_t, std::string> write_together() {
    std::vector<std::string> errors(bitset_blocks);
    std::vector<std::unique_ptr<watched_thread>> threads;
    device_.store.watch = [&] {
      if (!threads.empty()) return;
      for (std::uint32_t i = 1; i < bitset_blocks; ++i)
        threads.push_back(std::make_unique<watched_thread>([&, i] { errors[i] = write(i); }));
      for (const auto& thread : threads) thread->wait_until_blocked();
    };
    errors[0] = write(0);
    threads.clear();
    device_.store.watch = [] {};
    std::map<std::uint32_t, std::string> failed;
    for (std::uint32_t i = 0; i < bitset_blocks; ++i)
      if (!errors[i].empty()) failed[i] = errors[i];
    return failed;
  }

  static std::uint64_t block_in(std::uint32_t bitset_block) {
    return std::uint64_t{bitset_block} * bits_per_bitset_block + 5;
  }
  std::string write(std::uint32_t bitset_block) {
    try {
      device_->write(block_in(bitset_block) * block_size, block_size, nullptr);
    } catch (const std::exception& e) {
      return e.what();
    }
    return "";
  }

  // Nothing else is on the device any more.
  void judge() {
    device_.close();
    occupied_->give_back();
    device_.judge();
  }

 private:
  tracked_device device_{{1400, nr_blocks, 4}};
  std::optional<occupied_blocks> occupied_;
};

// The snapshot holds what digestion would free, and only a resumed device can drop it. Neither the
// snapshot nor digestion, which has to copy what is held, takes what the next resume needs.
TEST(TargetCrowded, AfterAPowerCutADeviceWithASnapshotIsResumed) {
  int taken = 0, refused = 0, digested = 0;
  for (std::uint64_t left = 40; left <= 160; left += 5) {
    SCOPED_TRACE(fmt::format("{} blocks left", left));
    crowded_device d(left);
    ASSERT_TRUE(d->is_resumed());
    const bool is_taken = d.tracked().message("take_metadata_snap");
    ++(is_taken ? taken : refused);
    if (!is_taken) continue;
    d.tracked().discard(0, crowded_device::nr_blocks);
    d.tracked().message("checkpoint");
    std::uint64_t steps = 1;
    while (d.tracked().attempt([&] { steps = d->digest(1); }) && steps > 0) d->status(), ++digested;
    d.cut_power();
    EXPECT_TRUE(d.tracked().resume());
    EXPECT_EQ(d.write(8), "");
    EXPECT_TRUE(d.tracked().message("drop_metadata_snap"));
    d.judge();
  }
  EXPECT_GT(taken, 5);
  EXPECT_GT(refused, 5);
  EXPECT_GT(digested, 5);
}

// Digestion of an era after the snapshot frees its bitset, and copies little before.
TEST(TargetCrowded, AResumeDigestsWhatIsNotHeld) {
  for (std::uint64_t left = 25; left <= 60; left += 5) {
    SCOPED_TRACE(fmt::format("{} blocks left", left));
    crowded_device d(left, [](tracked_device& device) {
      EXPECT_TRUE(device.message("take_metadata_snap") && device.write(5, 2) &&
                  device.message("checkpoint") && device.write(7));
    });
    EXPECT_TRUE(d->is_resumed());
    EXPECT_TRUE(d.tracked().message("drop_metadata_snap"));
    d.judge();
  }
}

// 33 writes need 37 blocks in one commit, and one needs 4.
TEST(TargetCrowded, WritesThatShareACommitFailOnlyIfTheyDoNotFitAlone) {
  int divided = 0, all_failed = 0;
  for (std::uint64_t left = 30; left <= 75; left += left < 40 ? 1 : 7) {
    SCOPED_TRACE(fmt::format("{} blocks left", left));
    crowded_device alone(left);
    if (!alone->is_resumed()) continue;
    const bool fits_alone = alone.write(0).empty();
    crowded_device d(left);
    const std::uint64_t commits = d->nr_commits();
    const auto failed = d.write_together();
    EXPECT_EQ(failed.size(), fits_alone ? 0 : crowded_device::bitset_blocks);
    for (const auto& [i, message] : failed) EXPECT_THAT(message, HasSubstr("larger metadata"));
    all_failed += !fits_alone;
    divided += fits_alone && d->nr_commits() - commits > 2;
    if (left > 70) {
      EXPECT_EQ(d->nr_commits() - commits, 2u) << "the first, and all others";
    }
    d.judge();
  }
  EXPECT_GE(divided, 5);
  EXPECT_GE(all_failed, 1);
}

TEST(TargetCrowded, OnlyWritesThatNeedADamagedBlockFail) {
  crowded_device d(1000);
  const pd::block_nr damaged[] = {d.bitset_block(7), d.bitset_block(20)};
  for (const pd::block_nr b : damaged) d.tracked().disk.damage_block(b);
  const auto failed = d.write_together();
  EXPECT_THAT(failed, ElementsAre(Pair(7u, HasSubstr(fmt::format("block {}", damaged[0]))),
                                  Pair(20u, HasSubstr(fmt::format("block {}", damaged[1])))));
  for (const pd::block_nr b : damaged) d.tracked().disk.damage_block(b);
  EXPECT_EQ(d.write(7) + d.write(20), "");
  d.judge();
}

// Each operation from the first write's commit on, for once and for good.
TEST(TargetCrowded, AFailureOfTheDeviceIsToldToEachWriteThatItConcerns) {
  for (const bool for_good : {false, true}) {
    std::size_t all_failed = 0, some_failed = 0;
    bool is_reached = true;
    for (std::uint64_t n = 1; is_reached; n += 5 * one_of) {
      SCOPED_TRACE(fmt::format("operation {}, for good: {}", n, for_good));
      crowded_device d(50);
      recording_store& store = d.tracked().store;
      store.fails_for_good = for_good;
      store.failing_operation = store.operations + n;
      const auto failed = d.write_together();
      is_reached = store.operations >= store.failing_operation;
      for (const auto& [i, message] : failed)
        EXPECT_THAT(message, AnyOf(HasSubstr("Input/output error"), HasSubstr("has failed")));
      EXPECT_EQ(d.tracked().origin.operations, crowded_device::bitset_blocks - failed.size());
      all_failed += failed.size() == crowded_device::bitset_blocks;
      some_failed += !failed.empty() && failed.size() < crowded_device::bitset_blocks;
      store.failing_operation = 0;
      d.judge();
    }
    EXPECT_GE(all_failed, for_good ? 1u : 0u);
    EXPECT_GE(some_failed, 1u);
  }
}

TEST(TargetCrowded, ALargeDiscardIsMarkedInParts) {
  int in_parts = 0, at_once = 0;
  for (std::uint64_t left = 35; left <= 75; left += 8) {
    SCOPED_TRACE(fmt::format("{} blocks left", left));
    crowded_device d(left);
    ASSERT_TRUE(d->is_resumed());
    const std::uint64_t commits = d->nr_commits();
    EXPECT_TRUE(d.tracked().discard(100, crowded_device::nr_blocks - 200));
    EXPECT_EQ(d->nr_marked(), crowded_device::nr_blocks - 200);
    EXPECT_EQ(marked_in(d.tracked().disk), (pd::range{100, crowded_device::nr_blocks - 100}));
    in_parts += d->nr_commits() - commits > 1;
    at_once += d->nr_commits() - commits == 1;
    d.judge();
  }
  EXPECT_GE(in_parts, 3);
  EXPECT_GE(at_once, 1);
}

// Marks that are on the device stay, in memory too.
TEST(TargetCrowded, ALargeWriteThatFailsLeavesTheMarksOfItsFirstParts) {
  crowded_device d(45);
  const pd::block_nr damaged = d.bitset_block(20);
  d.tracked().disk.damage_block(damaged);
  try {
    d->write(0, std::uint64_t{crowded_device::nr_blocks} * block_size, nullptr);
    ADD_FAILURE();
  } catch (const pd::damaged_metadata& e) {
    EXPECT_THAT(e.what(), HasSubstr(fmt::format("block {}", damaged)));
  }
  d.tracked().disk.damage_block(damaged);
  EXPECT_EQ(d.tracked().origin.operations, 0u);
  const std::uint64_t marked = d->nr_marked(), commits = d->nr_commits();
  EXPECT_GE(marked, bits_per_bitset_block);
  EXPECT_EQ(marked_in(d.tracked().disk), (pd::range{0, marked}));
  EXPECT_TRUE(d.tracked().write(0, marked));
  EXPECT_EQ(d->nr_commits(), commits);
  d.judge();
}

TEST(TargetCrowded, AWriteAcrossBitsetBlocksFailsIfNoneFits) {
  for (std::uint64_t left = 30; left <= 40; ++left) {
    SCOPED_TRACE(fmt::format("{} blocks left", left));
    crowded_device d(left);
    if (!d->is_resumed()) continue;
    const bool fits = d.write(5).empty();
    EXPECT_EQ(d.tracked().write(bits_per_bitset_block - 1, 2), fits);
    EXPECT_EQ(d->nr_marked(), fits ? 3u : 0u);
  }
}

}  // namespace
}  // namespace era
