// SPDX-License-Identifier: GPL-3.0-or-later
// 1. All array blocks are read as one sequence, in parallel, and each is checked by itself.
// 2. Stripes of the array that have a newer era than some writeset are compared with that.
#include "era/check/check_content.h"

#include <algorithm>
#include <utility>

#include "era/metadata/content.h"
#include "era/metadata/order.h"
#include "persistent-data/format/divide_up.h"
#include "persistent-data/io/workers.h"

namespace era {
namespace {

constexpr std::uint64_t blocks_per_item = 128;

// All array blocks of the metadata as one sequence: the era array, then the writesets. It leaves
// out blocks that are lost at the end of an array: those may be many more than the device has.
class all_blocks {
 public:
  explicit all_blocks(const metadata& m) : m_(m) {
    ends_.reserve(m.writesets.size() + 1);
    std::uint64_t end = m.eras.known_end();
    ends_.push_back(end);
    for (const writeset& ws : m.writesets) ends_.push_back(end += ws.bits.known_end());
  }

  std::uint64_t size() const noexcept { return ends_.back(); }

  std::vector<array_position> positions(pd::range r) const {
    std::vector<array_position> out;
    out.reserve(r.size());
    auto end = std::upper_bound(ends_.begin(), ends_.end(), r.begin);
    for (std::uint64_t i = r.begin; i < std::min(r.end, size()); ++i) {
      while (i >= *end) ++end;
      const auto array = static_cast<std::size_t>(end - ends_.begin());
      out.push_back(position(array, i - (array == 0 ? 0 : ends_[array - 1])));
    }
    return out;
  }

 private:
  array_position position(std::size_t array, std::uint64_t index) const {
    if (array == 0) return {&m_.eras, m_.place_of(part::era_array), index};
    const writeset& ws = m_.writesets[array - 1];
    return {&ws.bits, m_.place_of(ws), index, ws.nr_bits};
  }

  const metadata& m_;
  std::vector<std::uint64_t> ends_;  // of each array
};

// A worker's result for one item.
struct checked_blocks {
  std::vector<finding> findings;
  std::vector<std::pair<std::uint64_t, era_nr>> newest;  // of each era array block, by stripe
};

finding finding_of(const out_of_order& wrong) {
  return {wrong.where,
          pd::one_block(wrong.block),
          {pd::error_class::out_of_order, in_words(wrong)},
          {}};
}

}  // namespace

std::vector<era_nr> check_content(const metadata& m, const pd::block_device& device,
                                  const finding_sink& sink) {
  const all_blocks blocks(m);
  const auto positions_of = [&](std::size_t item) {
    return blocks.positions({item * blocks_per_item, (item + 1) * blocks_per_item});
  };
  const auto prefetch = [&](content_reader& reader, std::size_t item) {
    reader.prefetch(positions_of(item));
  };
  const auto check = [&](content_reader& reader, std::size_t item) {
    checked_blocks checked;
    const auto positions = positions_of(item);
    const auto look = [&](std::size_t k, const pd::block* b) -> std::optional<finding> {
      const array_position& at = positions[k];
      if (!b) return {};
      if (at.where.what != part::era_array) return find_surplus_bits(at, *b);
      const era_nr in_block = newest_era(pd::array_values<pd::le32>(*b));
      if (in_block > m.current_era) return find_future_eras(at, *b, m.current_era);
      checked.newest.emplace_back(at.index / array_blocks_per_stripe, in_block);
      return {};
    };
    reader.read(positions, look, checked.findings);
    return checked;
  };
  const auto new_worker = [&] {
    return pd::with_prefetch{content_reader(device), check, prefetch};
  };
  std::vector<era_nr> newest(pd::divide_up(m.eras.known_end(), array_blocks_per_stripe));
  const auto use = [&](std::size_t, checked_blocks checked) {
    for (finding& f : checked.findings) sink(std::move(f));
    for (const auto& [stripe, era] : checked.newest) newest[stripe] = std::max(newest[stripe], era);
  };
  pd::in_order(device.nr_workers(), pd::divide_up(blocks.size(), blocks_per_item), new_worker, use);
  if (!m.in_snapshot())
    find_out_of_order(
        m, device, loss_policy::omit, newest,
        [&](const out_of_order& wrong) { sink(finding_of(wrong)); }, sink);
  return newest;
}

}  // namespace era
