// SPDX-License-Identifier: GPL-3.0-or-later
// Damages several blocks of a kernel image at once, each in a way of the corruption sweep, so that
// blocks lie with a right checksum, too. In half of the cases the superblock is lost besides.
// ERA_DAMAGE_CASES=N tries N cases of each image, ERA_DAMAGE_FIRST=N begins at seed N.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "era/repair/salvage.h"
#include "era/testing/block_roles.h"
#include "era/testing/kernel_image.h"
#include "era/testing/mutations.h"
#include "persistent-data/testing/sanitized.h"

namespace sweep {

namespace pd = persistent_data;

// Seeds by which some repair or list once missed a block; they are tried as well.
inline constexpr unsigned once_missed[] = {826,  1200,  1446,  1478,  1752,  1910,
                                           2010, 2942,  5208,  5248,  5702,  5758,
                                           6454, 21574, 21724, 22102, 61844, 62158};

// Returns the seeds that each image is tried with.
inline std::vector<unsigned> damage_seeds(unsigned usual_cases) {
  const auto number_or = [](const char* name, unsigned usual) {
    const char* wanted = std::getenv(name);
    return wanted ? static_cast<unsigned>(std::strtoul(wanted, nullptr, 10)) : usual;
  };
  const unsigned first = number_or("ERA_DAMAGE_FIRST", 1);
  const unsigned nr_cases =
      number_or("ERA_DAMAGE_CASES", is_sanitized ? usual_cases / 10 : usual_cases);
  std::vector<unsigned> seeds(std::begin(once_missed), std::end(once_missed));
  for (unsigned seed = first; seed < first + nr_cases; ++seed) seeds.push_back(seed);
  return seeds;
}

// One image, damaged and made sound again any number of times.
class random_damage {
 public:
  explicit random_damage(era::test::memory_image& image)
      : image_(image),
        sound_(image.blocks().begin(), image.blocks().end()),
        roles_(era::test::find_roles(sound_)),
        subject_(era::test::make_subject(sound_, roles_)) {
    for (const auto& [nr, use] : roles_) used_.push_back(nr);
  }

  // Damages 2 to 4 blocks. The same seed damages the same blocks in the same way.
  void damage(unsigned seed) {
    std::mt19937 random(seed);
    seed_ = seed;
    description_.clear();
    loses_counts_ = may_lose_counts_ = has_outdated_root_ = has_lying_pointer_ = has_older_era_ =
        loses_eras_ = false;
    has_superblock_ = seed % 2 == 0;
    const auto nr_blocks = 2 + random() % 3 - (has_superblock_ ? 0 : 1);
    for (unsigned i = 0; i < nr_blocks; ++i) damage_one(used_[random() % used_.size()], random);
    if (!has_superblock_) {
      image_.blocks()[0] = pd::block{};
      damaged_.push_back(0);
      description_ += "; block 0: zeros";
    }
  }

  void mend() {
    for (const std::uint64_t nr : damaged_) image_.blocks()[nr] = sound_[nr];
    damaged_.clear();
  }

  // The user's options for a repair of the last damage: without a superblock the geometry, and in
  // half of these cases the current era.
  era::repair_options given() const {
    era::repair_options given;
    if (has_superblock_) return given;
    const auto& sb = superblock();
    given.block_size = sb.data_block_size;
    given.nr_blocks = sb.nr_blocks;
    if (seed_ % 4 == 1) given.current_era = sb.current_era + 1;
    return given;
  }

  // Whether the last damage leaves the superblock, and its description.
  bool has_superblock() const noexcept { return has_superblock_; }
  const std::string& description() const noexcept { return description_; }
  // Nothing on the device tells that an intact block lies: the space map's counts are damaged, and
  // a node leads to another block that may be an intact array block, or the superblock to an
  // outdated root; or the superblock has too old an era, and a block that has a newer one is
  // damaged.
  bool is_beyond_proof() const noexcept {
    return ((loses_counts_ || may_lose_counts_) && has_lying_pointer_) ||
           (loses_counts_ && has_outdated_root_) || (has_older_era_ && loses_eras_);
  }

 private:
  const era::superblock& superblock() const { return sound_[0].as<era::superblock>(); }

  void damage_one(std::uint64_t nr, std::mt19937& random) {
    std::vector<era::test::mutation> ways;
    const auto take = [&](const era::test::mutation& m) { ways.push_back(m); };
    era::test::mutator mutator(subject_, nr, take);
    if (random() % 2 == 0)
      mutator.at_random(random);
    else
      mutator.fields();
    if (ways.empty()) return;
    const era::test::mutation& way = ways[random() % ways.size()];
    const era::test::role what = roles_.at(nr).what;
    loses_counts_ =
        loses_counts_ || what == era::test::role::index || what == era::test::role::bitmap;
    if (way.kind == "superblock pointer") {
      may_lose_counts_ = true;
      has_outdated_root_ = way.detail.find("a free block") != std::string::npos;
    }
    has_lying_pointer_ = has_lying_pointer_ || way.kind == "array pointer";
    if (nr == 0)
      has_older_era_ = !era::validate_superblock(way.content, {0}) &&
                       way.content.as<era::superblock>().current_era < superblock().current_era;
    loses_eras_ = loses_eras_ || what == era::test::role::writeset_node ||
                  what == era::test::role::era_block || what == era::test::role::era_node;
    image_.blocks()[nr] = way.content;
    damaged_.push_back(nr);
    description_ +=
        fmt::format("; block {} ({}): {}: {}", nr, era::test::name(what), way.kind, way.detail);
  }

  era::test::memory_image& image_;
  const std::vector<pd::block> sound_;
  const era::test::used_blocks roles_;
  const era::test::sweep_subject subject_;
  std::vector<std::uint64_t> used_, damaged_;
  unsigned seed_ = 0;
  bool has_superblock_ = true, loses_counts_ = false, may_lose_counts_ = false,
       has_outdated_root_ = false, has_lying_pointer_ = false, has_older_era_ = false,
       loses_eras_ = false;
  std::string description_;
};

}  // namespace sweep
