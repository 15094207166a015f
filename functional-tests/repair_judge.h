// SPDX-License-Identifier: GPL-3.0-or-later
// Repairs damaged metadata and judges the result by law 1: it is sound, and no origin block has an
// older era than in the undamaged metadata, neither at once nor after digestion.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "era/dm_target/target.h"
#include "era/metadata/stripe.h"
#include "era/repair/salvage.h"
#include "era/sim/origin.h"
#include "era/testing/open_metadata.h"
#include "era/testing/round_trip.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/testing/recording_store.h"
#include "persistent-data/testing/scratch_device.h"

namespace sweep {

namespace pd = persistent_data;

struct folded {
  std::string wrong;  // damage, or why there are no eras
  std::uint32_t current_era = 0;
  std::vector<std::uint32_t> eras;  // by origin block
};

// Folds the live metadata at a path.
inline folded fold(const std::string& path) {
  folded result;
  const pd::block_device device(path, pd::access::shared);
  pd::read_queue queue(device.make_engine(), device.nr_blocks());
  const era::finding_sink note = [&](const era::finding& f) {
    result.wrong += f.error.text + '\n';
  };
  const auto m = era::test::open_metadata(queue, device, era::source::live, note);
  if (!m) return result;
  result.current_era = m->current_era.value;
  std::vector<era::finding> findings;
  era::stripe_folder folder(*m, device);
  for (std::uint64_t s = 0; s < era::nr_stripes(*m); ++s) {
    const auto eras = folder.fold(s, findings);
    result.eras.insert(result.eras.end(), eras.begin(), eras.end());
  }
  for (const era::finding& f : findings) note(f);
  return result;
}

// Digests all writesets of sound metadata as the kernel does after the device is activated: a
// writeset's era replaces the array's.
inline void digest_all(pd::test::scratch_device& device) {
  pd::test::recording_store store(device);
  era::sim::no_origin origin;
  const auto& sb = device[era::superblock_location].as<era::superblock>();
  const std::uint64_t length = std::uint64_t{sb.nr_blocks} * sb.data_block_size;
  era::target t(store, origin, {sb.data_block_size, length});
  t.resume();
  while (t.digest(1000) > 0) t.status();
  t.status();
}

class repair_judge {
 public:
  // nr_blocks: the size of the device that takes the repaired metadata.
  explicit repair_judge(std::uint64_t nr_blocks) : output_(nr_blocks) {}

  // Returns what is wrong with the repair of the metadata at the path, or "".
  std::string judge(const std::string& path, const era::repair_options& given,
                    const folded& truth) {
    assumptions_.clear();
    added_ = 0;
    refusal_.clear();
    const era::repair_report report{[](const era::finding&) {},
                                    [&](const std::string& text) { assumptions_ += text + '\n'; }};
    try {
      if (std::string why = era::test::repair_to(path, output_.path(), given, report); !why.empty())
        return why;
    } catch (const pd::damaged_metadata& e) {
      return refusal_ = e.what();
    }
    return judge_output(truth);
  }

  // The question that the last repair asked its user; "" if it asked none.
  const std::string& refusal() const noexcept { return refusal_; }

  // Without a superblock and without --current-era, eras end at the newest that any block names.
  void set_era_is_known(bool is_known) noexcept { era_is_known_ = is_known; }

  // The last repair's origin blocks whose era is newer than it was, and what was assumed.
  std::size_t added() const noexcept { return added_; }
  const std::string& assumptions() const noexcept { return assumptions_; }

 private:
  std::string judge_output(const folded& truth) {
    if (const std::string wrong = era::test::findings_in(output_.path()); !wrong.empty())
      return "is not clean: " + wrong;
    const folded now = fold(output_.path());
    if (!now.wrong.empty()) return now.wrong;
    if (now.eras.size() < truth.eras.size())
      return fmt::format("only {} of {} origin blocks are there", now.eras.size(),
                         truth.eras.size());
    for (std::size_t i = 0; i < truth.eras.size(); ++i) added_ += now.eras[i] > truth.eras[i];
    if (std::string older = find_older(now, truth); !older.empty()) return older;
    if (now.current_era >= era::max_current_era) return "";  // no target goes on with it
    digest_all(output_);
    if (const std::string older = find_older(fold(output_.path()), truth); !older.empty())
      return older + " after digestion";
    return "";
  }

  std::string find_older(const folded& now, const folded& truth) const {
    std::size_t older = 0, first = 0;
    for (std::size_t i = truth.eras.size(); i-- > 0;)
      if (now.eras[i] < (era_is_known_ ? truth.eras[i] : std::min(truth.eras[i], now.current_era)))
        ++older, first = i;
    if (older == 0) return "";
    return fmt::format("{} blocks are too old, the first is {}: era {}, and it was {}", older,
                       first, now.eras[first], truth.eras[first]);
  }

  pd::test::scratch_device output_;
  std::size_t added_ = 0;
  bool era_is_known_ = true;
  std::string assumptions_, refusal_;
};

}  // namespace sweep
