// SPDX-License-Identifier: GPL-3.0-or-later
// Threads that write, end eras, digest and ask, all at the same time: no write is missing from the
// answer, and a thread sanitizer finds nothing. And who waits for whom: a test stops a thread in
// the middle of an operation of a device, and sees which other threads wait for it.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "era/dm_target/target.h"
#include "era/metadata/stripe.h"
#include "era/testing/open_metadata.h"
#include "era/testing/round_trip.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/testing/recording_store.h"
#include "persistent-data/testing/watched_thread.h"

namespace era {
namespace {

using pd::test::recording_store;
using pd::test::scratch_device;
using pd::test::watched_thread;

constexpr std::uint32_t block_size = 8, nr_blocks = 5000;

struct null_origin final : origin_device {
  void read(std::uint64_t, std::uint64_t, std::byte*) override {}
  void write(std::uint64_t, std::uint64_t, const std::byte*) override {}
  void discard(std::uint64_t, std::uint64_t) override {}
  void flush() override {}
};

using known_eras = std::vector<std::uint32_t>;

// Until the end; what it returns: for each block the latest era that was current before a write.
known_eras write_blocks(target& t, unsigned seed, const std::atomic<bool>& has_ended) {
  std::mt19937 random(seed);
  known_eras known(nr_blocks);
  while (!has_ended) {
    const std::uint64_t block = random() % nr_blocks;
    const std::uint32_t era = t.current_era().value;
    if (random() % 8 == 0)
      t.discard(block * block_size, block_size);
    else
      t.write(block * block_size, block_size, nullptr);
    known[block] = era;
    if (random() % 8 == 0) t.read(block * block_size, 1, nullptr);
    if (random() % 64 == 0) t.flush();
  }
  return known;
}

void end_eras(target& t, int count) {
  bool snapshot = false;
  for (int i = 0; i < count; ++i) {
    const std::uint32_t before = t.current_era().value;
    t.message(i % 4 != 3 ? "checkpoint" : snapshot ? "drop_metadata_snap" : "take_metadata_snap");
    EXPECT_EQ(t.current_era().value, before + (i % 4 != 3 || !snapshot));
    if (i % 4 == 3) snapshot = !snapshot;
  }
}

void digest(target& t, unsigned seed, const std::atomic<bool>& has_ended) {
  std::mt19937 random(seed);
  while (!has_ended) {
    t.digest(1 + random() % 4);
    if (random() % 4 == 0) {
      const target_status s = t.status();
      EXPECT_LE(s.current_era.value, t.current_era().value);
    }
  }
}

TEST(TargetThreads, LoseNoWrite) {
  constexpr unsigned seed = 1, writers = 4;
  scratch_device disk(1024);
  recording_store store(disk);
  null_origin origin;
  target t(store, origin, {block_size, std::uint64_t{nr_blocks} * block_size});
  t.resume();

  std::atomic<bool> has_ended = false;
  std::vector<known_eras> known(writers);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < writers; ++i)
    threads.emplace_back([&, i] { known[i] = write_blocks(t, seed + i, has_ended); });
  for (unsigned i = 0; i < 2; ++i)
    threads.emplace_back([&, i] { digest(t, seed + writers + i, has_ended); });
  end_eras(t, 200);
  has_ended = true;
  for (std::thread& thread : threads) thread.join();
  t.status();

  EXPECT_EQ(test::findings_in(disk.path()), "");
  const pd::block_device device = disk.open();
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  const auto m = test::open_metadata(queue, device, source::live, [](const finding&) {});
  ASSERT_TRUE(m);
  std::vector<finding> findings;
  stripe_folder folder(*m, device);
  const auto eras = folder.fold(0, findings);
  ASSERT_EQ(eras.size(), nr_blocks);
  for (std::uint32_t b = 0; b < nr_blocks; ++b) {
    std::uint32_t latest = 0;
    for (const known_eras& k : known) latest = std::max(latest, k[b]);
    ASSERT_GE(eras[b], latest) << "block " << b;
    ASSERT_EQ(eras[b] == 0, latest == 0) << "block " << b;
    ASSERT_LE(eras[b], t.current_era().value);
  }
}

// An origin whose next write or discard does something in the middle.
class interrupted_origin final : public origin_device {
 public:
  std::function<void()> meanwhile;

  void read(std::uint64_t, std::uint64_t, std::byte*) override {}
  void write(std::uint64_t, std::uint64_t, const std::byte*) override {
    if (const auto once = std::exchange(meanwhile, nullptr)) once();
  }
  void discard(std::uint64_t, std::uint64_t) override { write(0, 0, nullptr); }
  void flush() override {}
};

class TargetWaits : public ::testing::Test {
 protected:
  TargetWaits() { target_.resume(); }

  void write(std::uint64_t block) { target_.write(block * block_size, block_size, nullptr); }

  scratch_device disk_{1024};
  recording_store store_{disk_};
  interrupted_origin origin_;
  target target_{store_, origin_, {block_size, std::uint64_t{nr_blocks} * block_size}};
};

// Else the write, which comes after the end of its era, would count for that era.
TEST_F(TargetWaits, AnEraDoesNotEndBeforeItsWrites) {
  const std::vector<std::function<void()>> ends = {
      [&] { target_.message("checkpoint"); }, [&] { target_.message("take_metadata_snap"); },
      [&] { target_.message("drop_metadata_snap"); }, [&] { target_.suspend(); }};
  const std::vector<std::function<void()>> writes = {
      [&] { write(5); }, [&] { target_.discard(5 * block_size, block_size); },
      [&] { target_.discard(0, nr_blocks * block_size); }};
  for (std::size_t e = 0; e < ends.size(); ++e)
    for (std::size_t w = 0; w < writes.size() * 2; ++w) {
      SCOPED_TRACE(fmt::format("end {} and write {}", e, w));
      target_.resume();
      // Only one snapshot can be taken, and only that one can be dropped.
      if (target_.status().held.has_value() != (e == 2))
        target_.message(e == 2 ? "take_metadata_snap" : "drop_metadata_snap");
      if (w % 2 == 1) write(5);  // it has a mark then
      std::unique_ptr<watched_thread> ender;
      origin_.meanwhile = [&] {
        const std::uint32_t era = target_.current_era().value;
        ender = std::make_unique<watched_thread>(ends[e]);
        ender->wait_until_blocked();
        EXPECT_FALSE(ender->has_ended());
        EXPECT_EQ(target_.current_era().value, era);
        EXPECT_TRUE(target_.is_resumed());
      };
      writes[w / 2]();
      ASSERT_TRUE(ender);
    }
}

// Else writes that overlap for ever would keep an era from ending.
TEST_F(TargetWaits, WritesDoNotPassWhoeverEndsAnEra) {
  write(5);
  write(6);
  std::unique_ptr<watched_thread> ender, other;
  origin_.meanwhile = [&] {
    ender = std::make_unique<watched_thread>([&] { target_.message("checkpoint"); });
    ender->wait_until_blocked();
    other = std::make_unique<watched_thread>([&] { write(6); });
    other->wait_until_blocked();
    EXPECT_FALSE(other->has_ended());
  };
  write(5);
  ASSERT_TRUE(ender && other);
  ender.reset();
  other.reset();
  EXPECT_EQ(target_.current_era().value, 2u);
  EXPECT_EQ(target_.nr_marked(), 3u) << "the write that waited is of the new era";
}

// Two writes of one block are marked by one commit, even if the second comes during that commit.
TEST_F(TargetWaits, AWriteOfABlockThatAnotherMarksCommitsNothing) {
  const std::uint64_t commits = target_.nr_commits();
  std::unique_ptr<watched_thread> other;
  store_.watch = [&] {
    if (other) return;
    other = std::make_unique<watched_thread>([&] { write(5); });
    other->wait_until_blocked();
  };
  write(5);
  ASSERT_TRUE(other);
  other.reset();
  EXPECT_EQ(target_.nr_commits(), commits + 1);
  EXPECT_EQ(target_.nr_marked(), 1u);
}

// One call digests everything, and whoever wants something else does not wait for its end.
TEST(TargetDigestion, LetsOthersInBetweenItsSteps) {
  constexpr std::uint64_t stripes = 40, blocks = stripes * bits_per_bitset_block;
  scratch_device disk(4096);
  recording_store store(disk);
  interrupted_origin origin;
  target t(store, origin, {block_size, blocks * block_size}, 16);
  t.resume();
  t.message("checkpoint");

  std::atomic<std::uint64_t> reads = 0;
  std::uint64_t reads_before_write = 0;
  std::unique_ptr<watched_thread> writer;
  const auto digester = std::this_thread::get_id();
  store.watch = [&] {
    if (std::this_thread::get_id() != digester) return;
    ++reads;
    if (!writer)
      writer = std::make_unique<watched_thread>([&] {
        t.write(0, block_size, nullptr);
        reads_before_write = reads;
      });
    writer->wait_until_blocked();
  };
  EXPECT_EQ(t.digest(~std::uint64_t{0}), stripes);
  ASSERT_TRUE(writer);
  writer.reset();
  EXPECT_GE(reads, stripes);
  EXPECT_LT(reads_before_write, reads / 2);
}

}  // namespace
}  // namespace era
