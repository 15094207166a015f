// SPDX-License-Identifier: GPL-3.0-or-later
// Law 1 over the corruption sweep, with metadata brought back: every damaged kernel image is
// repaired. What comes out is without a fault, and no block in it has an older era than in the
// sound image, neither at once nor when the target has digested what there is to digest. What was
// destroyed besides origin blocks costs nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "era/repair/salvage.h"
#include "era/sim/origin.h"
#include "era/testing/block_roles.h"
#include "era/testing/kernel_image.h"
#include "era/testing/mutations.h"
#include "era/testing/round_trip.h"
#include "era/view/stripe.h"
#include "persistent-data/testing/recording_store.h"
#include "persistent-data/testing/scratch_device.h"

namespace era::test {
namespace {

constexpr std::uint64_t output_blocks = 4096;

struct folded {
  std::string wrong;  // damage, or why there is nothing
  std::uint32_t current_era = 0;
  std::vector<std::uint32_t> eras;
};

folded fold(const std::string& path) {
  folded result;
  const pd::block_device device(path, pd::access::shared);
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  const auto m = open_metadata(queue, device, source::live,
                               [&](const finding& f) { result.wrong += f.what.detail + '\n'; });
  if (!m) return result;
  result.current_era = m->sb.current_era;
  std::vector<finding> findings;
  stripe_folder folder(*m, device);
  for (std::uint64_t s = 0; s < nr_stripes(*m); ++s) {
    const auto eras = folder.fold(s, findings);
    result.eras.insert(result.eras.end(), eras.begin(), eras.end());
  }
  for (const finding& f : findings) result.wrong += f.what.detail + '\n';
  return result;
}

class RepairSweep : public ::testing::TestWithParam<const char*> {
 protected:
  // Why it could not be done; empty where it could.
  std::string repair(const std::string& from) {
    assumptions_.clear();
    salvage_wishes wishes;
    wishes.block_size = block_size_;
    wishes.nr_blocks = nr_blocks_;
    const salvage_report report{[](const finding&) {},
                                [&](std::string text) { assumptions_ += text + '\n'; }};
    return repair_to(from, output_.path(), wishes, report);
  }

  // What the repaired metadata lacks; empty where it lacks nothing.
  std::string judge(const folded& truth) {
    if (const std::string wrong = findings_in(output_.path()); !wrong.empty())
      return "is not clean: " + wrong;
    const folded now = fold(output_.path());
    if (!now.wrong.empty()) return now.wrong;
    if (now.eras.size() < truth.eras.size())
      return fmt::format("only {} of {} origin blocks are there", now.eras.size(),
                         truth.eras.size());
    added_ = 0;
    for (std::size_t i = 0; i < truth.eras.size(); ++i) added_ += now.eras[i] > truth.eras[i];
    if (const std::size_t missing = count_older(now, truth))
      return fmt::format("{} blocks are too old", missing);
    digest();
    if (const std::size_t missing = count_older(fold(output_.path()), truth))
      return fmt::format("{} blocks are too old once writesets are digested", missing);
    return "";
  }

  static std::size_t count_older(const folded& now, const folded& truth) {
    std::size_t older = 0;
    for (std::size_t i = 0; i < truth.eras.size(); ++i) older += now.eras[i] < truth.eras[i];
    return older;
  }

  // As the kernel does it: the writeset's era takes the place of the array's, whichever is newer.
  void digest() {
    pd::test::recording_store store(output_);
    sim::no_origin origin;
    const auto& sb = output_[superblock_location].as<superblock>();
    target t(store, origin, {sb.data_block_size, std::uint64_t{sb.nr_blocks} * sb.data_block_size});
    t.resume();
    t.digest(~std::uint64_t{0});
    t.status();
  }

  pd::test::scratch_device output_{output_blocks};
  // What only the user knows once the superblock is lost.
  std::optional<std::uint32_t> block_size_, nr_blocks_;
  std::size_t added_ = 0;
  std::string assumptions_;
};

TEST_P(RepairSweep, MissesNoBlock) {
  memory_image image(GetParam());
  const std::vector<pd::block> sound(image.blocks().begin(), image.blocks().end());
  const used_blocks roles = find_roles(sound);
  const sweep_subject subject = make_subject(sound, roles);
  block_size_ = sound[0].as<superblock>().data_block_size;
  const folded truth = fold(image.path());
  ASSERT_EQ(repair(image.path()), "");
  EXPECT_EQ(judge(truth), "");
  EXPECT_EQ(added_, 0u);

  std::size_t cases = 0, failures = 0;
  const auto run = [&](std::uint64_t nr, role what, const mutation& m) {
    image.blocks()[nr] = m.content;
    ++cases;
    std::string wrong = repair(image.path());
    if (wrong.empty()) wrong = judge(truth);
    // The space map is made anew; what was in it is of no account.
    const bool of_no_account =
        m.destroys && (what == role::bitmap || what == role::index || what == role::count_node);
    if (wrong.empty() && of_no_account && added_ != 0)
      wrong = fmt::format("{} blocks too many are marked", added_);
    if (!wrong.empty() && ++failures < 20)
      ADD_FAILURE() << GetParam() << ": block " << nr << ": " << m.kind << ": " << m.detail << ": "
                    << wrong << '\n'
                    << assumptions_;
    image.blocks()[nr] = sound[nr];
  };
  for (const auto& [nr, use] : roles) {
    std::mt19937 random(static_cast<unsigned>(nr));
    mutate(subject, nr, random,
           [&, block = nr, what = use.what](const mutation& m) { run(block, what, m); });
  }
  EXPECT_EQ(failures, 0u);
  EXPECT_GT(cases, 50u);
  RecordProperty("cases", static_cast<int>(cases));
}

// Another block is lost together with the superblock.
TEST_P(RepairSweep, MissesNoBlockWithoutSuperblock) {
  memory_image image(GetParam());
  const std::vector<pd::block> sound(image.blocks().begin(), image.blocks().end());
  block_size_ = sound[0].as<superblock>().data_block_size;
  nr_blocks_ = sound[0].as<superblock>().nr_blocks;
  const folded truth = fold(image.path());
  image.blocks()[0] = pd::block{};
  std::size_t failures = 0;
  for (const auto& [nr, use] : find_roles(sound)) {
    if (nr == 0) continue;
    for (const bool zeros : {true, false}) {
      if (zeros)
        image.blocks()[nr] = pd::block{};
      else
        image.blocks()[nr].bytes[nr % pd::block_size] ^= std::byte{16};
      std::string wrong = repair(image.path());
      if (wrong.empty()) wrong = judge(truth);
      image.blocks()[nr] = sound[nr];
      if (!wrong.empty() && ++failures < 20)
        ADD_FAILURE() << GetParam() << ": block " << nr << ": " << name(use.what) << ": " << wrong
                      << '\n'
                      << assumptions_;
    }
  }
  EXPECT_EQ(failures, 0u);
}

INSTANTIATE_TEST_SUITE_P(KernelImages, RepairSweep, ::testing::ValuesIn(kernel_images),
                         [](const auto& image) {
                           std::string name(image.param);
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace era::test
