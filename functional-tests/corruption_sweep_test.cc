// SPDX-License-Identifier: GPL-3.0-or-later
// The corruption sweep: every used block of every kernel image is damaged in every way that there
// is, one at a time. Each damage is reported, the dump does not pass on what it hides, and nothing
// takes more memory or reading than sound metadata does.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "era/testing/block_roles.h"
#include "era/testing/kernel_image.h"
#include "era/testing/mutations.h"
#include "functional-tests/sweep_run.h"
#include "persistent-data/testing/sanitized.h"

namespace era::test {
namespace {

constexpr std::size_t memory_allowance = 4 << 20, reading_allowance = 1 << 20;
constexpr int shown_failures = 20;  // of an image

unsigned seed() {
  const char* const chosen = std::getenv("ERA_SWEEP_SEED");
  return chosen ? static_cast<unsigned>(std::strtoul(chosen, nullptr, 10)) : 20140310;
}

// Cases by class, over all images.
struct totals : ::testing::Environment {
  std::map<std::string, std::size_t, std::less<>> cases;
  std::size_t snapshot_checks = 0, dumps = 0, refused = 0;

  void SetUp() override { sweep::tell_case_on_death(); }
  void TearDown() override {
    std::size_t all = 0;
    for (const auto& [kind, count] : cases) {
      std::cout << fmt::format("{:8} {}\n", count, kind);
      all += count;
    }
    std::cout << fmt::format(
        "{:8} cases in all (seed {}); {} checks of the snapshot alone; {} dumps, {} refused\n", all,
        seed(), snapshot_checks, dumps, refused);
  }
};
totals& total = *static_cast<totals*>(::testing::AddGlobalTestEnvironment(new totals));

class CorruptionSweep : public ::testing::TestWithParam<const char*> {
 protected:
  CorruptionSweep()
      : image_(GetParam()),
        sound_(image_.blocks().begin(), image_.blocks().end()),
        roles_(find_roles(sound_)) {}

  bool has_snapshot() const { return sound_[0].as<superblock>().metadata_snap != 0; }

  // Returns the findings of the check. Its cost must stay within that of sound metadata.
  std::vector<finding> check(source from, const sweep::cost& sound) {
    std::vector<finding> found;
    const sweep::cost cost = sweep::measure([&] {
      sweep::check(image_.path(), from, [&](finding f) { found.push_back(std::move(f)); });
    });
    if (cost.memory > sound.memory + memory_allowance)
      fail(fmt::format("takes {} bytes; sound metadata {}", cost.memory, sound.memory));
    if (cost.reading > 4 * sound.reading + reading_allowance)
      fail(fmt::format("reads {} bytes; of sound metadata {}", cost.reading, sound.reading));
    return found;
  }

  sweep::cost cost_of_sound(source from) {
    const auto none = [&](const finding& f) { fail("sound metadata: " + in_words(f)); };
    const auto run = [&] { sweep::check(image_.path(), from, none); };
    run();
    return sweep::measure(run);
  }

  void run(std::uint64_t nr, const mutation& m) {
    const used_block& use = roles_.at(nr);
    ++total.cases[std::string(m.kind)];
    case_ =
        fmt::format("{}: block {} ({}): {}: {}", GetParam(), nr, name(use.what), m.kind, m.detail);
    sweep::name_case(case_);
    image_.blocks()[nr] = m.content;
    check_live(nr, use, m);
    if (use.in_snapshot && m.in_snapshot_alone) check_snapshot(nr, use, m);
    image_.blocks()[nr] = sound_[nr];
  }

  void fail(const std::string& what) {
    if (++failures_ <= shown_failures) ADD_FAILURE() << case_ << "\n  " << what;
  }

  memory_image image_;
  const std::vector<pd::block> sound_;
  const used_blocks roles_;
  sweep::cost live_cost_, snapshot_cost_;
  int failures_ = 0;

 private:
  static std::string in_words(const finding& f) {
    return fmt::format("{}, block {}: {} ({}); hides {} to before {}", era::in_words(f.where),
                       f.blocks.begin, f.error.text, pd::name(f.error.type), f.hidden.begin,
                       f.hidden.end);
  }

  void check_live(std::uint64_t nr, const used_block& use, const mutation& m) {
    const auto found = check(source::live, live_cost_);
    const bool fatal = std::any_of(found.begin(), found.end(), [](auto& f) { return f.fatal(); });
    if (found.empty())
      fail("is not reported");
    else if (m.expected == expectation::error && !fatal)
      fail("is reported as a leak only: " + in_words(found.front()));
    if (m.destroys && use.live) expect_exact(found, nr, use, false);
    if (fatal || m.dump_refuses) dump(source::live, found, m.dump_refuses);
  }

  void check_snapshot(std::uint64_t nr, const used_block& use, const mutation& m) {
    ++total.snapshot_checks;
    const auto found = check(source::snapshot, snapshot_cost_);
    if (found.empty()) fail("is not reported in the snapshot alone");
    if (m.destroys) expect_exact(found, nr, use, true);
    dump(source::snapshot, found, false);
  }

  // Damage that hides an era must end a dump.
  void dump(source from, const std::vector<finding>& found, bool must_refuse) {
    const auto hides = [&](const finding& f) {
      return sweep::hides_something(f) && f.where.snapshot == (from == source::snapshot);
    };
    const auto hidden = std::find_if(found.begin(), found.end(), hides);
    // Formatting is slow, runs are fast: in full only now and then.
    const std::size_t n = total.dumps++;
    const bool refused = sweep::dump_refuses(image_.path(), from, {n % 2 != 0, n % 50 != 0});
    if (refused) ++total.refused;
    if (refused) return;
    if (hidden != found.end())
      fail("is dumped in spite of: " + in_words(*hidden));
    else if (must_refuse)
      fail("is dumped");
  }

  // A destroyed block: one finding in that view, which names the block and hides what it covers.
  void expect_exact(const std::vector<finding>& found, std::uint64_t nr, const used_block& use,
                    bool in_snapshot) {
    const auto& span = in_snapshot ? use.snapshot_span : use.live_span;
    if (use.what != role::writeset_node && !span) return;
    const place where = use.what == role::writeset_node
                            ? place{part::writeset_tree, {}, in_snapshot}
                            : place{use.where.what, use.where.era, in_snapshot};
    int here = 0;
    for (const finding& f : found) {
      if (!sweep::hides_something(f) || f.where.snapshot != in_snapshot) continue;
      ++here;
      const bool exact =
          span ? f.hidden == *span : f.hidden.begin == 0 && f.hidden.end > 0xffffffff;
      if (f.where != where || f.blocks != pd::block_range{nr, nr + 1} || !exact)
        fail("is not described exactly: " + in_words(f));
    }
    if (here != 1) fail(fmt::format("is reported {} times in this view", here));
  }

  std::string case_ = GetParam();
};

TEST_P(CorruptionSweep, EveryUsedBlockIsKnown) {
  std::vector<std::uint64_t> known;
  for (const auto& [nr, use] : roles_) known.push_back(nr);
  EXPECT_EQ(known, counted_blocks(sound_));
}

TEST_P(CorruptionSweep, EveryDamageIsReported) {
  live_cost_ = cost_of_sound(source::live);
  if (has_snapshot()) snapshot_cost_ = cost_of_sound(source::snapshot);
  const sweep_subject subject = make_subject(sound_, roles_);
  for (const auto& [nr, use] : roles_) {
    if (use.past_end) continue;
    // The blocks of an era array differ in what the code does with them only at its end: for a
    // sanitizer, which slows the sweep down tenfold, one in five is enough.
    if (is_sanitized && use.what == role::era_block && !use.last && nr % 5 != 0) continue;
    std::seed_seq seeds{seed(), static_cast<unsigned>(nr)};
    std::mt19937 random(seeds);
    mutate(subject, nr, random, [&, block = nr](const mutation& m) { run(block, m); });
  }
  EXPECT_EQ(failures_, 0) << "failures in all";
}

INSTANTIATE_TEST_SUITE_P(KernelImages, CorruptionSweep, ::testing::ValuesIn(kernel_images),
                         [](const auto& image) {
                           std::string name;
                           for (const char c : std::string(image.param))
                             if (c != '-') name += c;
                           return name;
                         });

}  // namespace
}  // namespace era::test
