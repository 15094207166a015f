// SPDX-License-Identifier: GPL-3.0-or-later
// Random commands against a model that is a list of eras: after every message, resume and suspend,
// the metadata is sound, and the eras that are read from it, live and from the metadata snapshot,
// are the model's. A sequence that fails is cut down to the commands that it takes, and printed.
// ERA_MODEL_SEEDS sets the number of seeds that are tried.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <optional>
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

// Parameters are as drawn; what they mean is seen when the command runs. So a command keeps a
// meaning when others are dropped.
struct command {
  enum kind {
    write,
    discard,
    read,
    digest,
    checkpoint,
    take,
    drop,
    status,
    suspend,
    resume,
    resize,
    crash,
    past_the_end,
    unknown_message,
    nr_kinds
  } what;
  std::uint32_t a, b;
};

constexpr const char* names[] = {
    "write",  "discard", "read",   "digest", "checkpoint", "take",         "drop",
    "status", "suspend", "resume", "resize", "crash",      "past_the_end", "unknown_message"};
static_assert(std::size(names) == command::nr_kinds);
// How often, in the order of the kinds.
constexpr double weights[] = {40, 5, 3, 14, 9, 4, 4, 3, 3, 5, 3, 4, 1, 1};
static_assert(std::size(weights) == command::nr_kinds);

struct sequence {
  std::uint32_t most_blocks;
  std::vector<command> commands;
};

sequence draw(unsigned seed, std::size_t length) {
  std::mt19937 random(seed);
  std::discrete_distribution<int> kind(std::begin(weights), std::end(weights));
  // One block of the era array, a few, and more than one of a bitset.
  constexpr std::uint32_t sizes[] = {40, 1018, 1100, 5000, 5000, 34'000, 70'000};
  sequence s{sizes[random() % std::size(sizes)], {}};
  for (std::size_t i = 0; i < length; ++i)
    s.commands.push_back({static_cast<command::kind>(kind(random)),
                          static_cast<std::uint32_t>(random()),
                          static_cast<std::uint32_t>(random())});
  return s;
}

std::string in_words(const sequence& s) {
  std::string text = fmt::format("up to {} blocks:\n", s.most_blocks);
  for (const command& c : s.commands)
    text += fmt::format("  {{command::{}, {}u, {}u}},\n", names[c.what], c.a, c.b);
  return text;
}

// The answer: the era of each block.
class answer {
 public:
  std::size_t size() const { return eras_.size(); }

  // A block that comes has never been written. But if the device was larger before, and its writes
  // then are not digested, they come back with it, as the kernel's do: that is too much, and never
  // too little. A write that came back once stays.
  void resize(std::size_t size) {
    if (size < eras_.size()) {
      former_.resize(std::max(former_.size(), eras_.size()));
      for (std::size_t b = size; b < eras_.size(); ++b) former_[b] = std::max(former_[b], eras_[b]);
    }
    eras_.resize(size);
    unsure_.resize(size);
    for (std::size_t b = seen_; b < size; ++b) unsure_[b] = b < former_.size() ? former_[b] : 0;
    seen_ = size;
  }

  // Is it the block's first write in the era?
  bool write(std::size_t block, std::uint32_t era) {
    unsure_[block] = 0;
    return std::exchange(eras_[block], era) != era;
  }

  // Returns an error in the eras from first on, or an empty text.
  std::string compare(std::size_t first, std::span<const std::uint32_t> eras) {
    for (std::size_t i = 0; i < eras.size(); ++i) {
      const std::size_t b = first + i;
      if (unsure_[b] != 0 && eras[i] == unsure_[b]) eras_[b] = eras[i];
      unsure_[b] = 0;
      if (eras[i] != eras_[b])
        return fmt::format("block {} has era {}, not {}", b, eras[i], eras_[b]);
    }
    return "";
  }

 private:
  std::vector<std::uint32_t> eras_;
  std::vector<std::uint32_t> unsure_;  // not 0: the other era that the block may have
  std::vector<std::uint32_t> former_;
  std::size_t seen_ = 0;
};

struct null_origin final : origin_device {
  std::uint64_t calls = 0;
  void read(std::uint64_t, std::uint64_t, std::byte*) override { ++calls; }
  void write(std::uint64_t, std::uint64_t, const std::byte*) override { ++calls; }
  void discard(std::uint64_t, std::uint64_t) override { ++calls; }
  void flush() override {}
};

// Runs a sequence on a target and on the model.
class run {
 public:
  // How it fails; or nothing.
  std::string of(const sequence& s) {
    most_blocks_ = s.most_blocks;
    length_ = std::uint64_t{s.most_blocks} * block_size / 2;
    try {
      open();
      resume();
      for (const command& c : s.commands) {
        if (wrong_.empty()) execute(c);
        if (!wrong_.empty()) return fmt::format("{}: {}", names[c.what], wrong_);
      }
      check();
    } catch (const std::exception& e) {
      return e.what();
    }
    return wrong_;
  }

 private:
  void open() {
    target_ = std::make_unique<target>(store_, origin_, target::geometry{block_size, length_});
    resumed_ = false;
    marked_ = 0;
  }

  void resume() {
    target_->resume();
    if (resumed_) return;
    live_.resize(target_->nr_blocks());
    expect(target_->nr_blocks() == (length_ + block_size - 1) / block_size, "another size");
    ++era_;
    resumed_ = true;
    check();
  }

  void execute(const command& c) {
    switch (c.what) {
      case command::write:
      case command::discard: return write(c);
      case command::read: {
        const std::uint64_t sector = c.a % length_;
        return attempt(resumed_, 1, [&] { target_->read(sector, 1, nullptr); });
      }
      case command::digest: {
        const std::uint64_t steps = 1 + c.a % (c.b % 8 == 0 ? 1000 : 6);
        return expect(target_->digest(steps) <= (resumed_ ? steps : 0), "too many steps");
      }
      case command::checkpoint: return message("CheckPoint", resumed_, [&] {});
      case command::take:
        return message("take_metadata_snap", resumed_ && !snapshot_, [&] { snapshot_ = live_; });
      case command::drop: return drop();
      case command::status: return compare_status();
      case command::suspend:
        target_->suspend();
        resumed_ = false;
        return check();
      case command::resume: return resume();
      case command::resize: return resize(c);
      case command::crash:
        target_.reset();
        if (c.b % 4 == 0) length_ = length_of(c);
        open();
        return c.b % 3 == 0 ? check() : resume();
      case command::past_the_end:
        return attempt(false, 0, [&] { target_->write(length_ - c.a % 2, 2 + c.a % 9, nullptr); });
      case command::unknown_message:
        return attempt(false, 0, [&] { target_->message(c.a % 2 ? "" : "checkpoint 1"); });
      case command::nr_kinds: break;
    }
  }

  std::uint64_t length_of(const command& c) const {
    return 1 + c.a % (std::uint64_t{most_blocks_} * block_size);
  }

  void write(const command& c) {
    const std::uint64_t sector = c.a % length_;
    // Some blocks, some of the words of a bitset, or anything.
    const std::uint64_t most = c.b % 64 == 0 ? length_ : c.b % 16 == 0 ? 4000 : 40;
    const std::uint64_t count = 1 + c.b % std::min(most, length_ - sector);
    attempt(resumed_, 1, [&] {
      if (c.what == command::write)
        target_->write(sector, count, nullptr);
      else
        target_->discard(sector, count);
      for (std::uint64_t b = sector / block_size; b * block_size < sector + count; ++b)
        marked_ += live_.write(b, era_);
    });
    expect(target_->nr_marked() == marked_,
           fmt::format("{} blocks are marked, not {}", target_->nr_marked(), marked_));
  }

  template <class Then>
  void message(const char* text, bool is_accepted, Then then) {
    attempt(is_accepted, 0, [&] {
      target_->message(text);
      ++era_;
      then();
    });
    check();
  }

  void drop() {
    attempt(resumed_ && snapshot_, 0, [&] {
      target_->message("drop_metadata_snap");
      snapshot_.reset();
    });
    check();
  }

  void resize(const command& c) {
    const std::uint64_t length = length_of(c);
    if (resumed_ && c.b % 4 == 0) return attempt(false, 0, [&] { target_->set_length(length); });
    target_->suspend();
    resumed_ = false;
    length_ = length;
    target_->set_length(length);
    if (c.b % 4 == 1) return;  // the next resume has it
    resume();
  }

  // Does what is accepted or refused, and reaches the origin so often.
  template <class Call>
  void attempt(bool is_accepted, std::uint64_t origin_calls, Call call) {
    const std::uint64_t before = origin_.calls;
    bool was_refused = false;
    try {
      call();
    } catch (const pd::invalid_input&) {
      was_refused = true;
    }
    expect(was_refused != is_accepted, was_refused ? "refused" : "not refused");
    expect(origin_.calls - before == (was_refused ? 0 : origin_calls), "the origin's calls");
  }

  void expect(bool is_so, const std::string& otherwise) {
    if (!is_so && wrong_.empty()) wrong_ = otherwise;
  }

  void compare_status() {
    const target_status s = target_->status();
    expect(s.current_era.value == era_ && target_->current_era().value == era_,
           fmt::format("era {} is current, not {}", s.current_era, era_));
    expect(s.held.has_value() == snapshot_.has_value(), "the snapshot");
  }

  void check() {
    compare_status();
    expect(findings_in(disk_.path()).empty(), findings_in(disk_.path()));
    const pd::block_device device(disk_.path(), pd::access::shared);
    pd::read_queue queue(device.make_engine(), device.nr_blocks());
    compare(queue, device, source::live, live_);
    if (snapshot_) compare(queue, device, source::snapshot, *snapshot_);
  }

  void compare(pd::read_queue& queue, const pd::block_device& device, source from, answer& model) {
    if (!wrong_.empty()) return;
    const char* name = from == source::live ? "live" : "snapshot";
    std::vector<finding> findings;
    const auto m =
        open_metadata(queue, device, from, [&](const finding& f) { findings.push_back(f); });
    if (!m || !findings.empty()) return expect(false, fmt::format("{}: cannot be opened", name));
    if (m->nr_blocks != model.size())
      return expect(false, fmt::format("{}: {} blocks, not {}", name, m->nr_blocks, model.size()));
    stripe_folder folder(*m, device);
    for (std::uint64_t stripe = 0; stripe < nr_stripes(*m) && wrong_.empty(); ++stripe) {
      const std::string wrong =
          model.compare(stripe * blocks_per_stripe, folder.fold(stripe, findings));
      expect(wrong.empty() && findings.empty(), fmt::format("{}: {}", name, wrong));
    }
  }

  scratch_device disk_{4096};
  recording_store store_{disk_};
  null_origin origin_;
  std::unique_ptr<target> target_;
  std::uint32_t most_blocks_ = 0;
  std::uint64_t length_ = 0, marked_ = 0;

  answer live_;
  std::optional<answer> snapshot_;
  std::uint32_t era_ = 0;
  bool resumed_ = false;
  std::string wrong_;
};

// Takes commands out, many at a time and then one by one, while it fails.
sequence shrunk(sequence s) {
  for (std::size_t n = s.commands.size(); n > 0;) {
    bool smaller = false;
    for (std::size_t at = 0; at < s.commands.size();) {
      sequence less = s;
      const auto begin = less.commands.begin() + static_cast<std::ptrdiff_t>(at);
      const std::size_t count = std::min(n, less.commands.size() - at);
      less.commands.erase(begin, begin + static_cast<std::ptrdiff_t>(count));
      if (run().of(less).empty()) {
        at += n;
      } else {
        s = std::move(less);
        smaller = true;
      }
    }
    if (n > 1)
      n /= 2;
    else if (!smaller)
      break;
  }
  return s;
}

void try_seeds(unsigned first, unsigned count, std::size_t length) {
  for (unsigned seed = first; seed < first + count; ++seed) {
    const sequence s = draw(seed, length);
    const std::string wrong = run().of(s);
    if (wrong.empty()) continue;
    const sequence least = shrunk(s);
    FAIL() << "seed " << seed << ": " << wrong << "\nat least, \"" << run().of(least) << "\" takes "
           << in_words(least);
  }
}

unsigned seeds_or(unsigned usual) {
  const char* wanted = std::getenv("ERA_MODEL_SEEDS");
  return wanted ? static_cast<unsigned>(std::strtoul(wanted, nullptr, 10)) : usual;
}

TEST(TargetModel, HoldsForShortSequences) { try_seeds(1, seeds_or(2000), 30); }

TEST(TargetModel, HoldsForLongSequences) {
  try_seeds(1'000'001, std::max(1u, seeds_or(2000) / 200), 1000);
}

}  // namespace
}  // namespace era::test
