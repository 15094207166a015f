// SPDX-License-Identifier: GPL-3.0-or-later
// The target against what a kernel's did: the scripts that made the kernel images, status line by
// status line; and against simple models of its promises.
#include "era/dm_target/target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "era/testing/kernel_image.h"
#include "era/testing/round_trip.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/testing/recording_store.h"

namespace era {
namespace {

using pd::test::recording_store;
using pd::test::scratch_device;
using ::testing::HasSubstr;

// Keeps nothing, and fails when it is told to.
class null_origin final : public origin_device {
 public:
  bool fails = false;
  std::atomic<std::uint64_t> writes = 0;

  void read(std::uint64_t, std::uint64_t, std::byte*) override {}
  void write(std::uint64_t, std::uint64_t, const std::byte*) override {
    ++writes;
    if (fails) throw pd::device_error("origin: Input/output error");
  }
  void discard(std::uint64_t, std::uint64_t) override {}
  void flush() override {}
};

// A device that can be cut off and opened again.
class device {
 public:
  explicit device(std::uint64_t metadata_blocks, std::uint32_t block_size = 128)
      : disk(metadata_blocks), store(disk), block_size_(block_size) {}

  void up(std::uint32_t nr_blocks) {
    if (!target_) {
      target_ = std::make_unique<target>(
          store, origin, target::geometry{block_size_, std::uint64_t{nr_blocks} * block_size_});
    } else {
      target_->suspend();
      target_->set_length(std::uint64_t{nr_blocks} * block_size_);
    }
    target_->resume();
  }
  void cut_power() { target_.reset(); }
  void write(std::uint64_t block) { target_->write(block * block_size_, 8, nullptr); }
  target* operator->() const noexcept { return target_.get(); }

  scratch_device disk;
  recording_store store;
  null_origin origin;

 private:
  std::uint32_t block_size_;
  std::unique_ptr<target> target_;
};

std::uint64_t next_random(std::uint64_t& x) {
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return x;
}

class KernelScript : public ::testing::TestWithParam<const char*> {
 protected:
  // Digestion comes along with writes, and has ended before anything else but a status.
  void run(const std::string& line) {
    if (line[0] != 'S' && line[0] != 'W' && !cut_ && device_.operator->() != nullptr)
      while (device_->digest(50) > 0) device_->status();
    std::istringstream words(line);
    std::string what;
    words >> what;
    if (what == "U") {
      std::uint32_t nr_blocks;
      words >> nr_blocks;
      if (cut_) device_.cut_power();
      cut_ = false;
      device_.up(nr_blocks);
    } else if (what == "#") {
      cut_ = true;
    } else if (what == "W") {
      write(words);
    } else if (what == "M" || what == "E") {
      std::string message;
      words >> message;
      if (what == "M")
        device_->message(message);
      else
        EXPECT_THROW(device_->message(message), pd::invalid_input) << line;
    } else if (what == "S" && line.find("Error") == std::string::npos) {
      expect_status(words);
    } else if (what == "D") {
      device_->suspend();
    }
  }

  // [ERA] NR_BLOCKS run BEGIN COUNT, or rnd SEED COUNT. Without an era: what follows was too much
  // for the metadata device, and the script stops there.
  void write(std::istringstream& words) {
    std::vector<std::string> w;
    for (std::string word; words >> word;) w.push_back(word);
    const std::uint64_t count = std::stoull(w.back()), first = std::stoull(w[w.size() - 2]);
    const std::uint64_t nr_blocks = std::stoull(w[w.size() - 4]);
    const bool run = w[w.size() - 3] == "run";
    std::uint64_t x = first;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t block = run ? first + i : next_random(x) % nr_blocks;
      if (w.size() == 4 && block == stops_at_) break;
      device_.write(block);
      device_->digest(1);
    }
  }

  // S 0 LENGTH era 8 USED/TOTAL ERA HELD
  void expect_status(std::istringstream& words) {
    std::string zero, length, name, size, era, held;
    std::uint64_t used, total;
    char slash;
    words >> zero >> length >> name >> size >> used >> slash >> total >> era >> held;
    const target_status s = device_->status();
    EXPECT_EQ(fmt::to_string(s.current_era), era);
    EXPECT_EQ(s.held.has_value(), held != "-");
    EXPECT_EQ(s.total, total);
    EXPECT_LE(s.used, used + used / 50) << "more blocks in use";
  }

  test::memory_image image_{GetParam()};
  device device_{image_.blocks().size(), image_.blocks()[0].as<superblock>().data_block_size};
  bool cut_ = false;
  unsigned long stops_at_ = ~0ul;
};

TEST_P(KernelScript, GivesTheSameAnswers) {
  std::ifstream log(std::string(std::getenv("ERA_TESTS_DIR")) + "/kernel-images/" + GetParam() +
                    ".log");
  ASSERT_TRUE(log);
  std::vector<std::string> lines;
  std::string line;
  while (std::getline(log, line)) {
    lines.push_back(line);
    // The kernel refused this block: its metadata device was full.
    std::sscanf(line.c_str(), "failed at block %lu", &stops_at_);
  }
  for (const std::string& todo : lines) {
    SCOPED_TRACE(todo);
    run(todo);
  }
  EXPECT_EQ(test::findings_in(device_.disk.path()), "");
  const test::dump_options logical{.logical = true, .compact = true};
  EXPECT_EQ(test::dump_of(device_.disk.path(), logical), test::dump_of(image_.path(), logical));
  if (image_.blocks()[0].as<superblock>().metadata_snap != 0) {
    EXPECT_EQ(test::dump_of(device_.disk.path(), logical, source::snapshot),
              test::dump_of(image_.path(), logical, source::snapshot));
  }
}

INSTANTIATE_TEST_SUITE_P(Images, KernelScript, ::testing::ValuesIn(test::kernel_images),
                         [](const auto& image) {
                           std::string name(image.param);
                           std::erase(name, '-');
                           return name;
                         });

// A device of many bitset blocks, and a cache that holds few of them.
class TargetSteps : public ::testing::Test {
 protected:
  static constexpr std::uint64_t bitset_blocks = 100;
  static constexpr std::uint64_t nr_blocks = bitset_blocks * bits_per_bitset_block;

  TargetSteps() { target_.resume(); }

  // Steps until nothing is left, and how many operations of the device one took at most.
  std::pair<std::uint64_t, std::uint64_t> digest_all() {
    std::uint64_t steps = 0, most = 0;
    for (std::uint64_t before = store_.operations; target_.digest(1) == 1; ++steps) {
      most = std::max(most, store_.operations - before);
      before = store_.operations;
    }
    EXPECT_EQ(target_.digest(1000), 0u);
    return {steps, most};
  }
  void discard(std::uint64_t block, std::uint64_t count) {
    target_.discard(block * block_size, count * block_size);
  }

  static constexpr std::uint32_t block_size = 8;
  scratch_device disk_{8192};
  recording_store store_{disk_};
  null_origin origin_;
  target target_{store_, origin_, {block_size, nr_blocks* block_size}, 16};
};

TEST_F(TargetSteps, LookAtABitsetBlockEach) {
  constexpr std::uint64_t few = 10;  // operations: the bitset block, and nodes that were evicted
  target_.message("checkpoint");
  const auto [steps, most] = digest_all();
  EXPECT_EQ(steps, bitset_blocks);
  EXPECT_LE(most, few);

  // For one block: the step that finds it, and the rest of its bitset block.
  discard(50 * bits_per_bitset_block + 7, 1);
  target_.message("checkpoint");
  const auto [steps_for_one, most_for_one] = digest_all();
  EXPECT_EQ(steps_for_one, bitset_blocks + 1);
  EXPECT_LE(most_for_one, 2 * few);
}

TEST_F(TargetSteps, ChangeABlockOfTheEraArrayEach) {
  discard(0, nr_blocks);
  target_.message("checkpoint");
  // And the end of the writeset.
  EXPECT_EQ(digest_all().first, bitset_blocks * array_blocks_per_stripe + 1);
  target_.status();
  EXPECT_EQ(test::findings_in(disk_.path()), "");
}

TEST_F(TargetSteps, AreCountedWhetherOrNotTheyFindSomething) {
  discard(50 * bits_per_bitset_block + 7, 1);
  target_.message("checkpoint");
  for (std::uint64_t steps = bitset_blocks + 1; steps > 0;) {
    const std::uint64_t wanted = std::min<std::uint64_t>(steps, 7);
    ASSERT_EQ(target_.digest(wanted), wanted);
    steps -= wanted;
  }
  EXPECT_EQ(target_.digest(7), 0u);
}

// However many blocks a write or a discard has, and whether or not they are marked.
TEST_F(TargetSteps, AWriteIsOneCommit) {
  const std::uint64_t commits = target_.nr_commits();
  target_.write(30'000 * block_size, 60'000 * block_size, nullptr);
  EXPECT_EQ(target_.nr_marked(), 60'000u);
  EXPECT_EQ(target_.nr_commits(), commits + 1);
  target_.write(40'000 * block_size, 50'000 * block_size, nullptr);
  EXPECT_EQ(target_.nr_commits(), commits + 1);
  discard(0, nr_blocks);
  EXPECT_EQ(target_.nr_marked(), nr_blocks);
  EXPECT_EQ(target_.nr_commits(), commits + 2);
  discard(0, nr_blocks);
  EXPECT_EQ(target_.nr_commits(), commits + 2);
}

// Scattered ones, some of them marked before, some the same.
TEST_F(TargetSteps, WritesThatAreThereTogetherAreOneCommit) {
  target_.write(7 * block_size, block_size, nullptr);
  std::vector<target::extent> writes;
  for (const std::uint64_t block : {900'000u, 7u, 40'000u, 3u, 900'000u, 8u})
    writes.push_back({block * block_size, 1 + block % 2 * block_size});
  const std::uint64_t commits = target_.nr_commits();
  std::vector<std::size_t> done;
  const auto write_origin = [&](std::size_t i) {
    EXPECT_EQ(target_.nr_commits(), commits + 1) << "data before its mark";
    done.push_back(i);
  };
  target_.write_together(writes, write_origin);
  EXPECT_EQ(done, (std::vector<std::size_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(target_.nr_marked(), 6u);  // 3 and 7 reach into the next block
  target_.write_together(writes, [&](std::size_t) {});
  target_.write_together({}, [&](std::size_t) { FAIL(); });
  EXPECT_EQ(target_.nr_commits(), commits + 1);
  writes.push_back({std::uint64_t{nr_blocks} * block_size, 1});
  EXPECT_THROW(target_.write_together(writes, [&](std::size_t) { FAIL(); }), pd::invalid_input);
  target_.suspend();
  writes.pop_back();
  EXPECT_THROW(target_.write_together(writes, [&](std::size_t) { FAIL(); }), pd::invalid_input);
}

TEST_F(TargetSteps, AMessageIsOneOfThree) {
  const std::uint64_t commits = target_.nr_commits();
  for (const char* text : {"", "check", "checkpoints", "checkpoint ", "take_metadata_snap 1"})
    EXPECT_THROW(target_.message(text), pd::invalid_input) << text;
  EXPECT_EQ(target_.nr_commits(), commits);
  target_.message("CheckPoint");
  EXPECT_EQ(target_.nr_commits(), commits + 1);
  try {
    target_.message("\x1b[2J");
    ADD_FAILURE() << "such a message was accepted";
  } catch (const pd::invalid_input& e) {
    EXPECT_STREQ(e.what(),
                 "there is no message '?[2J'; there are checkpoint, take_metadata_snap and "
                 "drop_metadata_snap");
  }
}

TEST(Target, RefusesAGeometryBeforeItFormats) {
  scratch_device disk(64);
  recording_store store(disk);
  null_origin origin;
  for (const target::geometry g :
       {target::geometry{0, 100}, {12, 100}, {8, (std::uint64_t{max_origin_blocks} + 1) * 8}}) {
    EXPECT_THROW(target(store, origin, g), pd::invalid_input);
    EXPECT_TRUE(pd::is_zero(disk[superblock_location]));
  }
}

}  // namespace
}  // namespace era
