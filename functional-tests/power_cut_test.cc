// SPDX-License-Identifier: GPL-3.0-or-later
// The power goes at every point of a workload. Whatever subset of the writes that were not yet
// flushed arrives, whole or torn, the metadata is sound, the target opens and resumes it, and every
// block that the origin has written since is listed in its era or a later one. ERA_POWER_CUT_SEEDS
// tries more workloads than the usual.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "era/target/target.h"
#include "era/testing/round_trip.h"
#include "era/view/stripe.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/testing/recording_store.h"

namespace era::test {
namespace {

using pd::test::recording_store;
using pd::test::scratch_device;

constexpr std::uint64_t metadata_blocks = 160;
constexpr std::uint32_t block_size = 8;

// What the test must find: each is a fault that a target has had.
enum class fault {
  none,
  written_before_commit,    // the block is marked in memory, and the origin writes, too early
  superblock_before_flush,  // the superblock may arrive before what it refers to
  current_writeset_dropped  // whoever opens the metadata forgets the era that was under way
};

// What the origin wrote, by the length of the recording at that time.
struct origin_write {
  std::size_t at;
  std::uint64_t block;
  std::uint32_t era;
  bool gone;  // not written: the origin was cut there
};

class recording_origin final : public origin_device {
 public:
  std::function<void(std::uint64_t block)> wrote;
  void read(std::uint64_t, std::uint64_t, std::byte*) override {}
  void write(std::uint64_t sector, std::uint64_t count, const std::byte*) override {
    for (std::uint64_t b = sector / block_size; b * block_size < sector + count; ++b) wrote(b);
  }
  void discard(std::uint64_t sector, std::uint64_t count) override {
    write(sector, count, nullptr);
  }
  void flush() override {}
};

// Runs a random workload over a recorded metadata device.
class workload {
 public:
  workload(unsigned seed, fault what) : random_(seed), fault_(what) {
    store_.records = true;
    origin_.wrote = [this](std::uint64_t block) {
      if (fault_ != fault::written_before_commit) note(block);
    };
  }

  void run(int commands) {
    up(1 + below(5000));
    for (int i = 0; i < commands; ++i) command();
  }

  const std::vector<recording_store::event>& recorded() const { return store_.recorded; }
  const std::vector<origin_write>& writes() const { return writes_; }

 private:
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(random_() % n); }

  void note(std::uint64_t block) {
    writes_.push_back({store_.recorded.size(), block, target_->current_era().value, false});
  }

  void up(std::uint32_t nr_blocks) {
    if (nr_blocks < nr_blocks_)
      for (std::uint64_t b = nr_blocks; b < nr_blocks_; ++b)
        writes_.push_back({store_.recorded.size(), b, 0, true});
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

  void write(std::uint64_t block, std::uint64_t count) {
    if (fault_ == fault::written_before_commit)
      for (std::uint64_t b = block; b < block + count; ++b) note(b);
    if (below(8) == 0)
      target_->discard(block * block_size, count * block_size);
    else
      target_->write(block * block_size, count * block_size, nullptr);
  }

  void command() {
    const std::uint32_t which = below(100);
    if (which < 60) {
      const std::uint64_t block = below(nr_blocks_);
      write(block,
            1 + below(std::min<std::uint32_t>(20, nr_blocks_ - static_cast<std::uint32_t>(block))));
    } else if (which < 72) {
      target_->digest(1 + below(4));
    } else if (which < 82) {
      target_->message("checkpoint");
    } else if (which < 86) {
      target_->message(std::exchange(snapshot_, !snapshot_) ? "drop_metadata_snap"
                                                            : "take_metadata_snap");
    } else if (which < 90) {
      target_->status();
    } else if (which < 93) {
      target_->suspend();
      target_->resume();
    } else if (which < 96) {
      up(1 + below(5000));
    } else {
      target_.reset();  // as a crash would; the length stays
      up(nr_blocks_);
    }
  }

  std::mt19937 random_;
  fault fault_;
  scratch_device disk_{metadata_blocks};
  recording_store store_{disk_};
  recording_origin origin_;
  std::unique_ptr<target> target_;
  std::uint32_t nr_blocks_ = 0;
  bool snapshot_ = false;
  std::vector<origin_write> writes_;
};

// Cuts the power of a workload everywhere.
class cutter {
 public:
  cutter(const workload& w, unsigned seed, fault what) : w_(w), random_(seed), fault_(what) {}

  // Until a cut loses something; how many were tried.
  std::size_t run() {
    for (std::size_t at = 0; at <= w_.recorded().size() && wrong_.empty(); ++at) {
      while (next_write_ < w_.writes().size() && w_.writes()[next_write_].at <= at)
        take(w_.writes()[next_write_++]);
      cut(at);
      if (at == w_.recorded().size()) break;
      const auto& e = w_.recorded()[at];
      if (e.content)
        unflushed_.push_back(&e);
      else if (fault_ != fault::superblock_before_flush || ++flushes_ % 2 == 0)
        arrive();
    }
    return cuts_;
  }

  const std::string& wrong() const { return wrong_; }

 private:
  void take(const origin_write& w) {
    if (w.gone)
      expected_.erase(w.block);
    else
      expected_[w.block] = std::max(expected_[w.block], w.era);
  }

  void arrive() {
    for (const auto* e : unflushed_) durable_[e->where] = *e->content;
    unflushed_.clear();
  }

  // Subsets of what was not flushed: all where they are few.
  void cut(std::size_t at) {
    const std::size_t n = unflushed_.size();
    constexpr std::size_t few = 4;
    const std::size_t tries = n <= few ? std::size_t{1} << n : 12;
    for (std::size_t i = 0; i < tries && wrong_.empty(); ++i) {
      std::vector<bool> arrived(n);
      for (std::size_t k = 0; k < n; ++k)
        arrived[k] = n <= few ? (i >> k & 1) != 0 : i == 0 || (i > 1 && random_() % 2 == 0);
      try_survivor(at, arrived, n);
      if (n > 0) try_survivor(at, arrived, random_() % n);
    }
  }

  // torn: of this one, if any, some sectors arrive.
  void try_survivor(std::size_t at, const std::vector<bool>& arrived, std::size_t torn) {
    ++cuts_;
    for (std::uint64_t b = 0; b < metadata_blocks; ++b) survivor_[{b}] = durable_[{b}];
    for (std::size_t k = 0; k < unflushed_.size(); ++k) {
      pd::block& to = survivor_[unflushed_[k]->where];
      const pd::block& from = *unflushed_[k]->content;
      if (k != torn) {
        if (arrived[k]) to = from;
        continue;
      }
      for (std::size_t sector = 0; sector < pd::block_size; sector += 512)
        if (random_() % 2 == 0) std::copy_n(&from.bytes[sector], 512, &to.bytes[sector]);
    }
    judge(at);
  }

  void judge(std::size_t at) {
    const auto lost = [&](const std::string& why) {
      wrong_ = fmt::format("cut {} of {}, before which {} writes were not flushed: {}", at,
                           w_.recorded().size(), unflushed_.size(), why);
    };
    // Before the first commit there is nothing to check; to open it formats it.
    if (!pd::is_zero(survivor_[{0}])) {
      if (const std::string found = findings_in(survivor_.path()); !found.empty())
        return lost(found);
      if (const std::string missing = missing_in_survivor(); !missing.empty()) return lost(missing);
    } else if (!expected_.empty()) {
      return lost("the superblock is gone");
    }
    try {
      open_again();
    } catch (const std::exception& e) {
      return lost(e.what());
    }
    if (const std::string found = findings_in(survivor_.path()); !found.empty())
      return lost("opened again: " + found);
    if (const std::string missing = missing_in_survivor(); !missing.empty())
      return lost("opened again: " + missing);
  }

  void open_again() {
    auto& sb = survivor_[{0}].as<superblock>();
    std::uint64_t length = std::uint64_t{sb.nr_blocks} * block_size;
    if (length == 0) length = 100 * block_size;
    if (fault_ == fault::current_writeset_dropped && sb.current_root != 0) {
      sb.current_root = 0;
      pd::seal(superblock_kind, survivor_[{0}], {0});
    }
    recording_store store(survivor_);
    recording_origin origin;
    origin.wrote = [](std::uint64_t) {};
    target t(store, origin, {block_size, length});
    t.resume();
    t.digest(~std::uint64_t{0});
    t.status();
  }

  std::string missing_in_survivor() {
    const pd::block_device device(survivor_.path(), pd::access::shared);
    pd::read_queue queue(device.make_engine(), device.nr_blocks());
    const auto m = open_metadata(queue, device, source::live, [](const finding&) {});
    if (!m) return "cannot be opened";
    stripe_folder folder(*m, device);
    std::vector<finding> findings;
    const auto eras = folder.fold(0, findings);
    for (const auto& [block, era] : expected_)
      if (block < eras.size() && eras[block] < era)
        return fmt::format("block {} was written in era {}, and is listed in era {}", block, era,
                           eras[block]);
    return "";
  }

  const workload& w_;
  std::mt19937 random_;
  fault fault_;
  scratch_device durable_{metadata_blocks}, survivor_{metadata_blocks};
  std::vector<const recording_store::event*> unflushed_;
  std::map<std::uint64_t, std::uint32_t> expected_;
  std::size_t next_write_ = 0, flushes_ = 0, cuts_ = 0;
  std::string wrong_;
};

struct result {
  std::size_t cuts = 0;
  std::string wrong;
};

result cut_everywhere(unsigned seed, fault what, int commands) {
  workload w(seed, what);
  w.run(commands);
  cutter c(w, seed, what);
  result r;
  r.cuts = c.run();
  r.wrong = c.wrong();
  return r;
}

TEST(PowerCut, LosesNoWrite) {
  const char* wanted = std::getenv("ERA_POWER_CUT_SEEDS");
  const unsigned seeds = wanted ? static_cast<unsigned>(std::strtoul(wanted, nullptr, 10)) : 12;
  std::size_t cuts = 0;
  for (unsigned seed = 1; seed <= seeds; ++seed) {
    const result r = cut_everywhere(seed, fault::none, 60);
    cuts += r.cuts;
    ASSERT_EQ(r.wrong, "") << "seed " << seed;
  }
  EXPECT_GT(cuts, std::size_t{1000} * std::min(seeds, 12u));
  RecordProperty("cuts", static_cast<int>(cuts));
  printf("%zu cuts\n", cuts);
}

// The test bites.
TEST(PowerCut, FindsTargetsThatLoseWrites) {
  for (const fault what : {fault::written_before_commit, fault::superblock_before_flush,
                           fault::current_writeset_dropped}) {
    std::string wrong;
    for (unsigned seed = 1; seed <= 5 && wrong.empty(); ++seed)
      wrong = cut_everywhere(seed, what, 30).wrong;
    EXPECT_NE(wrong, "") << "fault " << static_cast<int>(what) << " was not found";
  }
}

}  // namespace
}  // namespace era::test
