// SPDX-License-Identifier: GPL-3.0-or-later
// 1. All array blocks are read as one sequence, in parallel, and each is checked by itself.
// 2. The kernel digests writesets in the order of their eras, so every era in the array is older
//    than all archived writesets. Only if a stripe of the array has a newer one than some writeset
//    are the two compared bit by bit.
#include "era/check/check_content.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "era/metadata/content.h"
#include "era/metadata/stripe.h"
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

  void positions(pd::range r, std::vector<array_position>& out) const {
    out.clear();
    auto end = std::upper_bound(ends_.begin(), ends_.end(), r.begin);
    for (std::uint64_t i = r.begin; i < std::min(r.end, size()); ++i) {
      while (i >= *end) ++end;
      const auto array = static_cast<std::size_t>(end - ends_.begin());
      out.push_back(position(array, i - (array == 0 ? 0 : ends_[array - 1])));
    }
  }

 private:
  array_position position(std::size_t array, std::uint64_t index) const {
    if (array == 0) return {&m_.eras, m_.place_of(part::era_array), index, 0};
    const writeset& ws = m_.writesets[array - 1];
    return {&ws.bits, ws.where, index, ws.nr_bits};
  }

  const metadata& m_;
  std::vector<std::uint64_t> ends_;  // of each array
};

// Only the last word may have bits that the writeset does not have.
std::optional<finding> check_bits(const array_position& at, const pd::block& b) {
  if (at.index + 1 != at.map->nr_blocks() || at.nr_bits % bits_per_word == 0) return {};
  const std::uint64_t last = pd::array_values<pd::le64>(b).back();
  const std::uint64_t surplus = last >> at.nr_bits % bits_per_word;
  if (surplus == 0) return {};
  const pd::block_nr where = *at.map->block(at.index);
  return finding{
      at.where,
      {where.value, where.value + 1},
      {pd::error_class::bad_value, fmt::format("it has {} bits, and {} behind them are set",
                                               at.nr_bits, std::popcount(surplus))},
      {}};
}

// A worker's result for one item.
struct checked_blocks {
  std::vector<finding> findings;
  std::vector<std::pair<std::uint64_t, era_nr>> newest;  // of each era array block, by stripe
};

// Compares the archived writesets of one stripe with the array; for one thread.
class order_checker {
 public:
  order_checker(const metadata& m, const pd::block_device& device)
      : m_(m), array_(m, device, fold_what::era_array_only), reader_(device) {}

  std::vector<finding> check(std::uint64_t stripe, era_nr newest) {
    std::vector<finding> ignored, findings;  // blocks that cannot be read have been reported
    const auto eras = array_.fold(stripe, ignored);
    const auto compare = [&](std::size_t k, const pd::block& b) -> std::optional<finding> {
      if (auto wrong = compare_bits(positions_[k], b, eras)) findings.push_back(std::move(*wrong));
      return {};
    };
    positions_.clear();
    for (const std::uint32_t i : m_.writesets_at(stripe)) {
      const writeset& ws = m_.writesets[i];
      // An impossible era is damage of another class.
      if (ws.where.what == part::writeset && ws.where.era.value != 0 && ws.where.era < newest)
        positions_.push_back({&ws.bits, ws.where, stripe, ws.nr_bits});
      if (positions_.size() < most_positions) continue;
      reader_.read(positions_, compare, ignored);
      positions_.clear();
    }
    reader_.read(positions_, compare, ignored);
    std::sort(findings.begin(), findings.end(), [](const finding& a, const finding& b) {
      return std::pair(a.where.era, a.blocks.begin) < std::pair(b.where.era, b.blocks.begin);
    });
    return findings;
  }

 private:
  std::optional<finding> compare_bits(const array_position& at, const pd::block& b,
                                      std::span<const std::uint32_t> eras) const {
    std::uint64_t count = 0, first = 0;
    for_each_set_bit(pd::array_values<pd::le64>(b), [&](std::size_t i) {
      if (i < eras.size() && eras[i] > at.where.era.value && eras[i] <= m_.sb.current_era &&
          count++ == 0)
        first = i;
    });
    if (count == 0) return {};
    const pd::block_nr where = *at.map->block(at.index);
    return finding{
        at.where,
        {where.value, where.value + 1},
        {pd::error_class::out_of_order,
         fmt::format(
             "blocks that it lists have a newer era in the era array ({} of them); the first is "
             "origin block {} with era {}",
             count, at.index * bits_per_bitset_block + first, eras[first])},
        {}};
  }

  const metadata& m_;
  stripe_folder array_;
  content_reader reader_;
  std::vector<array_position> positions_;
};

// Reports archived writesets that list a block whose era in the array is newer. newest: of each
// stripe, the newest era in the array.
void check_order(const metadata& m, const pd::block_device& device,
                 const std::vector<era_nr>& newest, const finding_sink& sink) {
  if (m.writesets.empty()) return;
  std::vector<std::uint64_t> suspects;
  for (std::uint64_t s = 0; s < newest.size(); ++s)
    if (newest[s] > m.writesets.front().where.era) suspects.push_back(s);
  const auto new_worker = [&] {
    return [&, checker = order_checker(m, device)](std::size_t i) mutable {
      return checker.check(suspects[i], newest[suspects[i]]);
    };
  };
  pd::in_order(device.nr_workers(), suspects.size(), new_worker,
               [&](std::size_t, std::vector<finding> findings) {
                 for (finding& f : findings) sink(std::move(f));
               });
}

}  // namespace

std::vector<era_nr> check_content(const metadata& m, const pd::block_device& device,
                                  const finding_sink& sink) {
  const all_blocks blocks(m);
  const auto new_worker = [&] {
    return [&, reader = content_reader(device),
            positions = std::vector<array_position>()](std::size_t item) mutable {
      checked_blocks checked;
      blocks.positions({item * blocks_per_item, (item + 1) * blocks_per_item}, positions);
      const auto look = [&](std::size_t k, const pd::block& b) -> std::optional<finding> {
        const array_position& at = positions[k];
        if (at.where.what != part::era_array) return check_bits(at, b);
        const era_nr in_block = newest_era(pd::array_values<pd::le32>(b));
        if (in_block.value > m.sb.current_era) return find_future_eras(at, b, {m.sb.current_era});
        checked.newest.emplace_back(at.index / array_blocks_per_stripe, in_block);
        return {};
      };
      reader.read(positions, look, checked.findings);
      return checked;
    };
  };
  std::vector<era_nr> newest((m.eras.known_end() + array_blocks_per_stripe - 1) /
                             array_blocks_per_stripe);
  const auto use = [&](std::size_t, checked_blocks checked) {
    for (finding& f : checked.findings) sink(std::move(f));
    for (const auto& [stripe, era] : checked.newest) newest[stripe] = std::max(newest[stripe], era);
  };
  pd::in_order(device.nr_workers(), (blocks.size() + blocks_per_item - 1) / blocks_per_item,
               new_worker, use);
  if (!m.in_snapshot()) check_order(m, device, newest, sink);
  return newest;
}

}  // namespace era
