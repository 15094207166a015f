// SPDX-License-Identifier: GPL-3.0-or-later
// Threads that write, end eras, digest and ask, all at the same time: no write is missing from the
// answer, no era has to wait for the writes to pause, and a thread sanitizer finds nothing.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "era/target/target.h"
#include "era/testing/round_trip.h"
#include "era/view/stripe.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/testing/recording_store.h"

namespace era {
namespace {

using pd::test::recording_store;
using pd::test::scratch_device;

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
  const auto m = open_metadata(queue, device, source::live, [](const finding&) {});
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

}  // namespace
}  // namespace era
