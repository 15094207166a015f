// SPDX-License-Identifier: GPL-3.0-or-later
// The power goes at every point of a workload, and any subset of the writes that were not yet
// flushed arrives, whole or torn. The metadata is sound, the target opens and resumes it, and every
// block that the origin has written since is listed in its era or a later one. In some workloads
// the metadata device fails once before; a flush that failed may lose all writes before it for
// good. The cache is smaller than the device, so that blocks are written between commits, too.
// ERA_POWER_CUT_SEEDS tries more workloads than the usual.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "era/dm_target/target.h"
#include "era/metadata/stripe.h"
#include "era/testing/open_metadata.h"
#include "era/testing/round_trip.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/io/block_device.h"
#include "persistent-data/testing/recording_store.h"

namespace era::test {
namespace {

using pd::test::recording_store;
using pd::test::scratch_device;

constexpr std::uint32_t block_size = 8;

struct sizes {
  std::uint64_t metadata_blocks;
  std::uint32_t most_origin_blocks;
};
constexpr sizes one_bitset_block{160, 5'000}, two_bitset_blocks{240, 40'000};
// So few that each commit takes blocks that a commit shortly before has freed.
constexpr sizes crowded{40, 3'000};

// Faults that a target has had; the test must find each.
enum class device_behaviour {
  none,
  written_before_commit,     // the block is marked in memory, and the origin writes, too early
  superblock_before_flush,   // the superblock may arrive before what it refers to
  current_writeset_dropped,  // whoever opens the metadata forgets the era that was under way
  goes_on_after_failure      // a commit fails, and others follow it
};

// A write of the origin, by the length of the recording at that time.
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
  workload(unsigned seed, device_behaviour what, const sizes& s)
      : random_(seed),
        behaviour_(what),
        most_blocks_(s.most_origin_blocks),
        cache_blocks_(2 + below(3)),
        disk_(s.metadata_blocks) {
    store_.records = true;
    origin_.wrote = [this](std::uint64_t block) {
      if (behaviour_ != device_behaviour::written_before_commit) note(block);
    };
  }

  void run(int commands) {
    attempt([&] { up(1 + below(most_blocks_)); });
    for (int i = 0; i < commands; ++i) attempt([&] { command(); });
  }

  // Until the power goes nobody opens the metadata again after the failure; what a process that did
  // so read would not be what is on the device.
  void fail_at(std::uint64_t operation) { store_.failing_operation = operation; }

  const std::vector<recording_store::event>& recorded() const { return store_.recorded; }
  const std::vector<origin_write>& writes() const { return writes_; }
  std::uint64_t nr_blocks() const { return disk_.nr_blocks(); }

  // How often a block was written before the commit began: a commit writes in ascending order.
  std::size_t evictions() const {
    std::size_t n = 0;
    for (std::size_t i = 1; i < recorded().size(); ++i) {
      const auto& [before, now] = std::pair(recorded()[i - 1], recorded()[i]);
      n += before.content && now.content && now.where < before.where;
    }
    return n;
  }

 private:
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(random_() % n); }

  void note(std::uint64_t block) {
    writes_.push_back({store_.recorded.size(), block, target_->current_era().value, false});
  }

  // A call may fail if the device does, or if the metadata is full, or as a consequence of that.
  template <class Call>
  void attempt(Call call) {
    try {
      call();
    } catch (const pd::device_error&) {
      if (store_.failing_operation == 0) throw;
      has_failed_ = true;
      if (behaviour_ == device_behaviour::goes_on_after_failure) open();
    } catch (const pd::no_space&) {
      was_full_ = true;
    } catch (const pd::invalid_input&) {
      if (!has_failed_ && !was_full_) throw;
    }
  }

  void open() {
    target_ = std::make_unique<target>(
        store_, origin_, target::geometry{block_size, std::uint64_t{nr_blocks_} * block_size},
        cache_blocks_);
  }

  void up(std::uint32_t nr_blocks) {
    if (nr_blocks < nr_blocks_)
      for (std::uint64_t b = nr_blocks; b < nr_blocks_; ++b)
        writes_.push_back({store_.recorded.size(), b, 0, true});
    nr_blocks_ = nr_blocks;
    if (target_) {
      target_->suspend();
      target_->set_length(std::uint64_t{nr_blocks} * block_size);
    } else {
      open();
    }
    target_->resume();
  }

  // Several at the same time, each acknowledged by itself.
  void write_together() {
    std::vector<target::extent> writes;
    for (std::uint32_t n = 1 + below(12); n > 0; --n) {
      const std::uint32_t block = below(nr_blocks_);
      const std::uint32_t count = 1 + below(std::min(5u, nr_blocks_ - block));
      writes.push_back({std::uint64_t{block} * block_size, std::uint64_t{count} * block_size});
    }
    if (behaviour_ == device_behaviour::written_before_commit)
      for (const target::extent& w : writes) note(w.sector / block_size);
    target_->write_together(
        writes, [&](std::size_t i) { origin_.write(writes[i].sector, writes[i].count, nullptr); });
  }

  void write(std::uint64_t block, std::uint64_t count) {
    if (behaviour_ == device_behaviour::written_before_commit)
      for (std::uint64_t b = block; b < block + count; ++b) note(b);
    if (below(8) == 0)
      target_->discard(block * block_size, count * block_size);
    else
      target_->write(block * block_size, count * block_size, nullptr);
  }

  void command() {
    if (!target_) return;  // the device failed while it was opened
    // There was no room for a larger size.
    if (!target_->is_resumed() && nr_blocks_ > target_->nr_blocks() && target_->nr_blocks() > 0)
      up(target_->nr_blocks());
    const std::uint32_t which = below(100);
    if (which < 15) {
      write_together();
    } else if (which < 60) {
      const std::uint32_t block = below(nr_blocks_), most = below(16) == 0 ? nr_blocks_ : 20;
      write(block, 1 + below(std::min(most, nr_blocks_ - block)));
    } else if (which < 72) {
      target_->digest(1 + below(4));
    } else if (which < 82) {
      target_->message("checkpoint");
    } else if (which < 86) {
      target_->message(snapshot_ ? "drop_metadata_snap" : "take_metadata_snap");
      snapshot_ = !snapshot_;
    } else if (which < 90) {
      target_->status();
    } else if (which < 93) {
      target_->suspend();
      target_->resume();
    } else if (which < 96) {
      up(1 + below(most_blocks_));
    } else if (!has_failed_) {
      target_.reset();  // as a crash would; the length stays
      up(nr_blocks_);
    }
  }

  std::mt19937 random_;
  device_behaviour behaviour_;
  std::uint32_t most_blocks_;
  std::size_t cache_blocks_;
  scratch_device disk_;
  recording_store store_{disk_};
  recording_origin origin_;
  std::unique_ptr<target> target_;
  std::uint32_t nr_blocks_ = 0;
  bool snapshot_ = false, was_full_ = false, has_failed_ = false;
  std::vector<origin_write> writes_;
};

// Cuts the power of a workload everywhere.
class cutter {
 public:
  cutter(const workload& w, unsigned seed, device_behaviour what)
      : w_(w), random_(seed), behaviour_(what), durable_(w.nr_blocks()), survivor_(w.nr_blocks()) {}

  // From an event on, until a cut loses something; how many were tried.
  std::size_t run(std::size_t first) {
    for (std::size_t at = 0; at <= w_.recorded().size() && wrong_.empty(); ++at) {
      while (next_write_ < w_.writes().size() && w_.writes()[next_write_].at <= at)
        take(w_.writes()[next_write_++]);
      if (at >= first) cut(at);
      if (at < w_.recorded().size()) take(w_.recorded()[at]);
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

  void take(const recording_store::event& e) {
    if (e.content)
      unflushed_.push_back({e.where, e.content.get(), e.has_failed});
    else if (e.has_failed)
      for (pending& p : unflushed_) p.may_be_lost = true;
    else if (behaviour_ != device_behaviour::superblock_before_flush || ++flushes_ % 2 == 0)
      arrive();
  }

  void arrive() {
    for (const pending& p : unflushed_)
      if (!p.may_be_lost || random_() % 2 == 0) durable_[p.where] = survivor_[p.where] = *p.content;
    unflushed_.clear();
  }

  // Subsets of what was not flushed: all if they are few.
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
    for (std::size_t k = 0; k < unflushed_.size(); ++k) {
      pd::block& to = survivor_[unflushed_[k].where];
      const pd::block& from = *unflushed_[k].content;
      if (k != torn) {
        if (arrived[k]) to = from;
        continue;
      }
      for (std::size_t sector = 0; sector < pd::block_size; sector += 512)
        if (random_() % 2 == 0) std::copy_n(&from.bytes[sector], 512, &to.bytes[sector]);
    }
    judge(at);
    for (const pending& p : unflushed_) survivor_[p.where] = durable_[p.where];
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
      if (const std::string found = findings_in(survivor_.path()); !found.empty())
        lost("opened again: " + found);
      else if (const std::string missing = missing_in_survivor(); !missing.empty())
        lost("opened again: " + missing);
    } catch (const std::exception& e) {
      lost(e.what());
    }
    for (const auto& e : written_again_) survivor_[e.where] = durable_[e.where];
  }

  void open_again() {
    auto& sb = survivor_[{0}].as<superblock>();
    std::uint64_t length = std::uint64_t{sb.nr_blocks} * block_size;
    if (length == 0) length = std::uint64_t{100} * block_size;
    if (behaviour_ == device_behaviour::current_writeset_dropped && sb.current_root != 0) {
      sb.current_root = 0;
      pd::prepare_for_write(superblock_kind, survivor_[{0}], {0});
    }
    recording_store store(survivor_);
    store.records = true;
    recording_origin origin;
    origin.wrote = [](std::uint64_t) {};
    try {
      target t(store, origin, {block_size, length});
      t.resume();
      digest_all(t);
    } catch (...) {
      written_again_ = std::move(store.recorded);
      throw;
    }
    written_again_ = std::move(store.recorded);
  }

  // As far as there is room.
  static void digest_all(target& t) {
    try {
      while (t.digest(8) > 0) t.status();
    } catch (const pd::no_space&) {
    }
    t.status();
  }

  std::string missing_in_survivor() {
    const pd::block_device device(survivor_.path(), pd::access::shared);
    pd::read_queue queue(device.make_engine(), device.nr_blocks());
    const auto m = open_metadata(queue, device, source::live, [](const finding&) {});
    if (!m) return "cannot be opened";
    stripe_folder folder(*m, device);
    std::vector<finding> findings;
    auto next = expected_.begin();
    for (std::uint64_t stripe = 0; stripe < nr_stripes(*m); ++stripe) {
      const std::uint64_t first = stripe * blocks_per_stripe;
      const auto eras = folder.fold(stripe, findings);
      for (; next != expected_.end() && next->first - first < eras.size(); ++next)
        if (eras[next->first - first] < next->second)
          return fmt::format("block {} was written in era {}, and is listed in era {}", next->first,
                             next->second, eras[next->first - first]);
    }
    return "";
  }

  // A write that was not flushed. If it may be lost, the next flush does not make it arrive for
  // sure.
  struct pending {
    pd::block_nr where;
    const pd::block* content;
    bool may_be_lost;
  };

  const workload& w_;
  std::mt19937 random_;
  device_behaviour behaviour_;
  // Between two cuts they are the same.
  scratch_device durable_, survivor_;
  std::vector<recording_store::event> written_again_;  // by whoever opened the survivor
  std::vector<pending> unflushed_;
  std::map<std::uint64_t, std::uint32_t> expected_;
  std::size_t next_write_ = 0, flushes_ = 0, cuts_ = 0;
  std::string wrong_;
};

struct result {
  std::size_t cuts = 0, evictions = 0;
  std::string wrong;
};

result cut_from(const workload& w, std::size_t first, unsigned seed, device_behaviour what) {
  cutter c(w, seed, what);
  result r;
  r.cuts = c.run(first);
  r.evictions = w.evictions();
  r.wrong = c.wrong();
  return r;
}

result cut_everywhere(unsigned seed, device_behaviour what, int commands) {
  workload w(seed, what, seed % 3 == 0 ? two_bitset_blocks : one_bitset_block);
  w.run(commands);
  return cut_from(w, 0, seed, what);
}

// A write or flush of the last commands of a workload fails, mostly one that ends a commit, and
// other commands follow.
result cut_after_failure(unsigned seed, device_behaviour what) {
  constexpr int commands = 12;
  workload before(seed, device_behaviour::none, crowded), w(seed, what, crowded);
  before.run(commands);
  std::mt19937 random(seed);
  std::size_t at = 0;
  do {
    at = random() % before.recorded().size();
  } while (before.recorded()[at].where.value != 0 && random() % 8 != 0);
  w.fail_at(before.recorded()[at].operation);
  w.run(2 * commands);
  EXPECT_TRUE(w.recorded()[at].has_failed) << "seed " << seed;
  return cut_from(w, at, seed, what);
}

unsigned seeds_or(unsigned usual) {
  const char* wanted = std::getenv("ERA_POWER_CUT_SEEDS");
  return wanted ? static_cast<unsigned>(std::strtoul(wanted, nullptr, 10)) : usual;
}

TEST(PowerCut, LosesNoWrite) {
  const unsigned seeds = seeds_or(12);
  std::size_t cuts = 0, evictions = 0;
  for (unsigned seed = 1; seed <= seeds; ++seed) {
    const result r = cut_everywhere(seed, device_behaviour::none, 40);
    cuts += r.cuts;
    evictions += r.evictions;
    ASSERT_EQ(r.wrong, "") << "seed " << seed;
  }
  EXPECT_GT(cuts, std::size_t{1000} * std::min(seeds, 12u));
  EXPECT_GT(evictions, std::size_t{20} * std::min(seeds, 12u));
  RecordProperty("cuts", static_cast<int>(cuts));
  printf("%zu cuts, %zu evictions\n", cuts, evictions);
}

TEST(PowerCut, AfterAFailureLosesNoWrite) {
  const unsigned seeds = 6 * seeds_or(12);
  std::size_t cuts = 0;
  for (unsigned seed = 1; seed <= seeds; ++seed) {
    const result r = cut_after_failure(seed, device_behaviour::none);
    cuts += r.cuts;
    ASSERT_EQ(r.wrong, "") << "seed " << seed;
  }
  EXPECT_GT(cuts, std::size_t{10} * seeds);
  printf("%zu cuts\n", cuts);
}

// The test bites.
TEST(PowerCut, FindsTargetsThatLoseWrites) {
  for (const device_behaviour what :
       {device_behaviour::written_before_commit, device_behaviour::superblock_before_flush,
        device_behaviour::current_writeset_dropped}) {
    std::string wrong;
    for (unsigned seed = 1; seed <= 5 && wrong.empty(); ++seed)
      wrong = cut_everywhere(seed, what, 30).wrong;
    EXPECT_NE(wrong, "") << "fault " << static_cast<int>(what) << " was not found";
  }
  std::string wrong;
  for (unsigned seed = 1; seed <= 20 && wrong.empty(); ++seed)
    wrong = cut_after_failure(seed, device_behaviour::goes_on_after_failure).wrong;
  EXPECT_NE(wrong, "") << "a target that goes on after a failed commit was not found";
}

}  // namespace
}  // namespace era::test
