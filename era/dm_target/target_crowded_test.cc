// SPDX-License-Identifier: GPL-3.0-or-later
// Nearly full metadata of many bitset blocks: writes that share a commit, and large ones, fail only
// if they do not fit by themselves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "era/testing/tracked_device.h"
#include "persistent-data/format/array_block.h"
#include "persistent-data/format/btree_node.h"
#include "persistent-data/testing/watched_thread.h"

namespace era {
namespace {

using pd::test::watched_thread;
using test::block_size;
using test::occupied_blocks;
using test::one_of;
using test::recording_store;
using test::scratch_device;
using test::tracked_device;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

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

  // The place of a bitset block of the current writeset.
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
