// SPDX-License-Identifier: GPL-3.0-or-later
// Law 1 over random histories: the target writes, ends eras, holds metadata snapshots, digests half
// way, is resized and loses its power. Then each metadata block in use is lost in turn, or the last
// writes of the superblock are, and the metadata is repaired. ERA_HISTORY_SEEDS=N tries N
// histories, ERA_HISTORY_FIRST=N begins at seed N.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "era/check/sound_metadata.h"
#include "era/testing/block_roles.h"
#include "functional-tests/repair_judge.h"

namespace era::test {
namespace {

constexpr std::uint32_t block_size = 8;

// The metadata device has much room, or so little that each block is soon used again.
enum class room { large = 2000, small = 100 };

class history {
 public:
  history(unsigned seed, room metadata)
      : random_(seed), disk_(static_cast<std::uint64_t>(metadata)) {
    constexpr std::uint32_t sizes[] = {40, 1018, 1100, 5000, 34'000, 70'000};
    most_blocks_ = sizes[below(metadata == room::large ? std::size(sizes) : 3)];
    up(1 + below(most_blocks_));
    try {
      for (std::uint32_t i = 0, commands = 8 + below(40); i < commands; ++i) {
        command();
        note_superblock();
      }
    } catch (const pd::no_space&) {  // the last commit is whole
      target_.reset();
    }
    if (target_ && below(3) == 0) target_->suspend();
    target_.reset();
  }

  pd::test::scratch_device& device() noexcept { return disk_; }
  // Those that were written, without the last one.
  std::vector<pd::block> older_superblocks() {
    note_superblock();
    return {superblocks_.begin(), superblocks_.end() - 1};
  }

 private:
  std::uint32_t below(std::uint64_t n) { return static_cast<std::uint32_t>(random_() % n); }

  void up(std::uint32_t nr_blocks) {
    nr_blocks_ = nr_blocks;
    const std::uint64_t length = std::uint64_t{nr_blocks} * block_size;
    if (target_) {
      target_->suspend();
      target_->set_length(length);
    } else {
      target_ = std::make_unique<target>(store_, origin_, target::geometry{block_size, length});
    }
    target_->resume();
  }

  void write() {
    const std::uint32_t first = below(nr_blocks_);
    const std::uint32_t most = below(8) == 0 ? 3000 : 30;
    const std::uint64_t count = 1 + below(std::min(most, nr_blocks_ - first));
    target_->write(std::uint64_t{first} * block_size, count * block_size, nullptr);
  }

  void command() {
    const std::uint32_t which = below(100);
    if (which < 45) {
      write();
    } else if (which < 60) {
      target_->message("checkpoint");
    } else if (which < 75) {
      target_->digest(1 + below(6));
    } else if (which < 79) {
      while (target_->digest(100) > 0) continue;
    } else if (which < 88) {
      const bool held = target_->status().held.has_value();
      target_->message(held ? "drop_metadata_snap" : "take_metadata_snap");
    } else if (which < 91) {
      target_->status();
    } else if (which < 94) {
      target_->suspend();
      target_->resume();
    } else if (which < 97) {
      up(1 + below(most_blocks_));
    } else {
      target_.reset();  // the power goes
      up(nr_blocks_);
    }
  }

  void note_superblock() {
    const pd::block& now = disk_[superblock_location];
    if (superblocks_.empty() || superblocks_.back().bytes != now.bytes) superblocks_.push_back(now);
  }

  std::mt19937 random_;
  std::uint32_t most_blocks_ = 0, nr_blocks_ = 0;
  std::vector<pd::block> superblocks_;
  pd::test::scratch_device disk_;
  pd::test::recording_store store_{disk_};
  sim::no_origin origin_;
  std::unique_ptr<target> target_;
};

unsigned number_or(const char* name, unsigned usual) {
  const char* wanted = std::getenv(name);
  return wanted ? static_cast<unsigned>(std::strtoul(wanted, nullptr, 10)) : usual;
}

// A status line told the user these, before the superblock was lost.
repair_options wishes_for(const superblock& sb) {
  repair_options given;
  given.block_size = sb.data_block_size;
  given.nr_blocks = sb.nr_blocks;
  given.current_era = sb.current_era + 1;  // the era that begins when it is activated
  return given;
}

TEST(HistorySweep, MissesNoBlock) {
  const unsigned first = number_or("ERA_HISTORY_FIRST", 1);
  const unsigned seeds = number_or("ERA_HISTORY_SEEDS", 60);
  sweep::repair_judge judge(4096);
  std::size_t cases = 0, failures = 0, with_snapshot = 0;
  for (unsigned seed = first; seed < first + seeds; ++seed) {
    history h(seed, room::large);
    pd::test::scratch_device& device = h.device();
    const superblock sb = device[superblock_location].as<superblock>();
    ASSERT_EQ(findings_in(device.path()), "") << "seed " << seed;
    const sweep::folded truth = sweep::fold(device.path());
    const std::span<const pd::block> all(&device[superblock_location], device.nr_blocks());
    with_snapshot += sb.metadata_snap != 0;
    std::mt19937 random(seed);
    for (const std::uint64_t b : counted_blocks(all)) {
      const pd::block sound = device[{b}];
      if (random() % 2 == 0)
        device[{b}] = pd::block{};
      else
        device[{b}].bytes[random() % pd::block_size] ^= std::byte{1};
      const repair_options given = b == 0 ? wishes_for(sb) : repair_options{};
      const std::string wrong = judge.judge(device.path(), given, truth);
      ++cases;
      if (!wrong.empty() && ++failures < 10)
        ADD_FAILURE() << "seed " << seed << ": block " << b << ": " << wrong << '\n'
                      << judge.assumptions();
      device[{b}] = sound;
    }
  }
  EXPECT_EQ(failures, 0u);
  EXPECT_GT(with_snapshot, seeds / 8);
  RecordProperty("cases", static_cast<int>(cases));
  printf("%zu blocks lost, seeds %u to %u, %zu with a snapshot, %zu failures\n", cases, first,
         first + seeds - 1, with_snapshot, failures);
}

// An older superblock that nothing contradicts is beyond proof: its trees are whole.
TEST(HistorySweep, MissesNoBlockWithAnOlderSuperblock) {
  const unsigned first = number_or("ERA_HISTORY_FIRST", 1);
  const unsigned seeds = number_or("ERA_HISTORY_SEEDS", 60);
  sweep::repair_judge judge(4096);
  judge.set_era_is_known(false);
  std::size_t cases = 0, failures = 0, beyond_proof = 0, refused = 0;
  const auto fail = [&](unsigned seed, std::size_t nr, const std::string& wrong) {
    if (++failures < 10) ADD_FAILURE() << "seed " << seed << ", superblock " << nr << ": " << wrong;
  };
  for (unsigned seed = first; seed < first + seeds; ++seed) {
    history h(seed, room::small);
    pd::test::scratch_device& device = h.device();
    ASSERT_EQ(findings_in(device.path()), "") << "seed " << seed;
    const sweep::folded truth = sweep::fold(device.path());
    std::size_t nr = 0;
    for (const pd::block& older : h.older_superblocks()) {
      device[superblock_location] = older;
      ++nr, ++cases;
      if (findings_in(device.path()).empty()) {
        ++beyond_proof;
        continue;
      }
      const pd::block_device opened(device.path(), pd::access::shared);
      if (map_sound_metadata(opened, source::live, ignore_findings)) {
        const sweep::folded listed = sweep::fold(device.path());
        if (listed.wrong.empty() && listed.eras != truth.eras)
          fail(seed, nr, "is listed without a repair: " + findings_in(device.path()));
      }
      repair_options given;
      std::string wrong = judge.judge(device.path(), given, truth);
      if (judge.refusal().find("--nr-blocks") != std::string::npos) {
        given.nr_blocks = static_cast<std::uint32_t>(truth.eras.size());
        wrong = judge.judge(device.path(), given, truth);
      }
      if (!judge.refusal().empty())
        ++refused;
      else if (!wrong.empty())
        fail(seed, nr, wrong + '\n' + judge.assumptions() + findings_in(device.path()));
    }
  }
  EXPECT_EQ(failures, 0u);
  EXPECT_LE(refused, cases / 8);
  EXPECT_GE(cases - beyond_proof - refused, cases / 4);
  printf("%zu older superblocks, seeds %u to %u, %zu beyond proof, %zu refused, %zu failures\n",
         cases, first, first + seeds - 1, beyond_proof, refused, failures);
}

}  // namespace
}  // namespace era::test
