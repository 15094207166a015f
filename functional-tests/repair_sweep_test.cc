// SPDX-License-Identifier: GPL-3.0-or-later
// Law 1 over the corruption sweep, with metadata brought back: every damaged kernel image is
// repaired. The output is sound, and no block in it has an older era than in the sound image,
// neither at once nor when the target has digested all writesets. A destroyed space map costs
// nothing. With a sanitizer, which looks for faults of memory, one case in five is enough.
#include <gtest/gtest.h>

#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "era/check/cut_off.h"
#include "era/testing/block_roles.h"
#include "era/testing/kernel_image.h"
#include "era/testing/mutations.h"
#include "functional-tests/random_damage.h"
#include "functional-tests/repair_judge.h"
#include "persistent-data/testing/sanitized.h"

namespace era::test {
namespace {

constexpr std::size_t one_of = is_sanitized ? 5 : 1;

// The leak as a kernel would count it: the sums of the space map agree.
void count_in_sums(memory_image& image, std::uint64_t bitmap) {
  auto& sb = image.blocks()[0].as<superblock>();
  sb.space_map.nr_allocated = sb.space_map.nr_allocated + 1;
  pd::prepare_for_write(superblock_kind, image.blocks()[0], superblock_location);
  const pd::block_nr root{sb.space_map.bitmap_root};
  for (pd::index_entry& entry : image.blocks()[root.value].as<pd::index_block>().entries)
    if (entry.blocknr == bitmap) entry.nr_free = entry.nr_free - 1;
  pd::prepare_for_write(pd::space_map_index_kind, image.blocks()[root.value], root);
}

class RepairSweep : public ::testing::TestWithParam<const char*> {
 protected:
  // A user who is asked for the number of blocks knows it.
  std::string judge(const memory_image& image, const sweep::folded& truth) {
    std::string wrong = judge_.judge(image.path(), given_, truth);
    if (given_.nr_blocks || judge_.refusal().find("--nr-blocks") == std::string::npos) return wrong;
    repair_options told = given_;
    told.nr_blocks = static_cast<std::uint32_t>(truth.eras.size());
    return judge_.judge(image.path(), told, truth);
  }

  sweep::repair_judge judge_{4096};
  repair_options given_;  // what only the user knows once the superblock is lost
};

TEST_P(RepairSweep, MissesNoBlock) {
  memory_image image(GetParam());
  const std::vector<pd::block> sound(image.blocks().begin(), image.blocks().end());
  const used_blocks roles = find_roles(sound);
  const sweep_subject subject = make_subject(sound, roles);
  given_.block_size = sound[0].as<superblock>().data_block_size;
  const sweep::folded truth = sweep::fold(image.path());
  ASSERT_EQ(judge(image, truth), "");
  EXPECT_EQ(judge_.added(), 0u);

  std::size_t cases = 0, failures = 0;
  const auto run = [&](std::uint64_t nr, role what, const mutation& m) {
    if (cases++ % one_of != 0) return;
    image.blocks()[nr] = m.content;
    // A count of 3 belongs into the tree of counts, and contradicts it.
    const bool is_leak =
        m.kind == "count of a free block" && m.detail.find(": 3,") == std::string::npos;
    if (is_leak) count_in_sums(image, nr);
    std::string wrong = judge(image, truth);
    // The space map is made anew; what was in it is of no account.
    const bool of_no_account =
        m.destroys && (what == role::bitmap || what == role::index || what == role::count_node);
    if (wrong.empty() && of_no_account && judge_.added() != 0)
      wrong = fmt::format("{} blocks too many are marked", judge_.added());
    // If a leaked block has what lists writes, it may have been cut off, and everything counts.
    const bool is_cut_off = is_leak && [&] {
      const auto leaked = std::stoull(m.detail.substr(std::string("block ").size()));
      return may_list_writes(sound[leaked], {leaked});
    }();
    if (wrong.empty() && is_leak && !is_cut_off && judge_.added() > truth.eras.size() / 20)
      wrong = fmt::format("{} blocks are marked because of a leak", judge_.added());
    if (!wrong.empty() && ++failures < 20)
      ADD_FAILURE() << GetParam() << ": block " << nr << ": " << m.kind << ": " << m.detail << ": "
                    << wrong << '\n'
                    << judge_.assumptions();
    image.blocks()[nr] = sound[nr];
    if (is_leak) std::copy(sound.begin(), sound.end(), image.blocks().begin());
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
  given_.block_size = sound[0].as<superblock>().data_block_size;
  given_.nr_blocks = sound[0].as<superblock>().nr_blocks;
  const sweep::folded truth = sweep::fold(image.path());
  image.blocks()[0] = pd::block{};
  std::size_t cases = 0, failures = 0;
  for (const auto& [nr, use] : find_roles(sound)) {
    if (nr == 0) continue;
    for (const bool zeros : {true, false}) {
      if (cases++ % one_of != 0) continue;
      if (zeros)
        image.blocks()[nr] = pd::block{};
      else
        image.blocks()[nr].bytes[nr % pd::block_size] ^= std::byte{16};
      const std::string wrong = judge(image, truth);
      image.blocks()[nr] = sound[nr];
      if (!wrong.empty() && ++failures < 20)
        ADD_FAILURE() << GetParam() << ": block " << nr << ": " << name(use.what) << ": " << wrong
                      << '\n'
                      << judge_.assumptions();
    }
  }
  EXPECT_EQ(failures, 0u);
}

// Several blocks at once. A repair may be refused, since the user can be asked; a wrong one may not
// be made.
TEST_P(RepairSweep, MissesNoBlockIfSeveralAreDamaged) {
  memory_image image(GetParam());
  const sweep::folded truth = sweep::fold(image.path());
  sweep::random_damage damage(image);
  const std::vector<unsigned> seeds = sweep::damage_seeds(500);
  std::size_t failures = 0, refused = 0, beyond_proof = 0;
  for (const unsigned seed : seeds) {
    damage.damage(seed);
    if (damage.is_beyond_proof()) {
      damage.mend();
      ++beyond_proof;
      continue;
    }
    given_ = damage.given();
    judge_.set_era_is_known(damage.has_superblock() || given_.current_era);
    std::string wrong = judge(image, truth);
    if (!judge_.refusal().empty()) {
      wrong.clear();
      ++refused;
    }
    damage.mend();
    if (!wrong.empty() && ++failures < 20)
      ADD_FAILURE() << GetParam() << ", seed " << seed << damage.description() << ": " << wrong
                    << '\n'
                    << judge_.assumptions();
  }
  EXPECT_EQ(failures, 0u) << "of " << seeds.size() << " seeds up to " << seeds.back();
  EXPECT_LE(refused, seeds.size() / 8);
  std::printf("%s: %zu cases, %zu misses, %zu refused, %zu not tried\n", GetParam(), seeds.size(),
              failures, refused, beyond_proof);
}

INSTANTIATE_TEST_SUITE_P(KernelImages, RepairSweep, ::testing::ValuesIn(kernel_images),
                         [](const auto& image) {
                           std::string name(image.param);
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace era::test
