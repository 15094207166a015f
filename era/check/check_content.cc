// SPDX-License-Identifier: GPL-3.0-or-later
// The parallel pass over all array blocks.
#include "era/check/check_content.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "era/view/content.h"
#include "persistent-data/io/workers.h"

namespace era {
namespace {

constexpr std::uint64_t blocks_per_item = 128;

// All array blocks of the metadata as one sequence: the era array, then the writesets. Without what
// is lost at their ends: that can be much more than there is.
class all_blocks {
 public:
  explicit all_blocks(const metadata& m) {
    add({&m.eras, m.place_of(part::era_array), 0, 0});
    for (const writeset& ws : m.writesets) add({&ws.bits, ws.where, 0, ws.nr_bits});
  }

  std::uint64_t size() const noexcept { return size_; }

  void positions(pd::range r, std::vector<array_position>& out) const {
    out.clear();
    auto at = std::upper_bound(arrays_.begin(), arrays_.end(), r.begin,
                               [](auto i, const array& a) { return i < a.first; });
    --at;
    for (std::uint64_t i = r.begin; i < std::min(r.end, size_); ++i) {
      while (i - at->first >= at->start.map->known_end()) ++at;
      out.push_back(at->start);
      out.back().index = i - at->first;
    }
  }

 private:
  struct array {
    std::uint64_t first;
    array_position start;
  };

  void add(const array_position& start) {
    arrays_.push_back({size_, start});
    size_ += start.map->known_end();
  }

  std::vector<array> arrays_;
  std::uint64_t size_ = 0;
};

// Only the last word may have bits that the writeset does not have.
std::optional<finding> check_bits(const array_position& at, const pd::block& b) {
  if (at.index + 1 != at.map->nr_blocks() || at.nr_bits % bits_per_word == 0) return {};
  const std::uint64_t last = pd::array_values<pd::le64>(b).back();
  const std::uint64_t surplus = last >> at.nr_bits % bits_per_word;
  if (surplus == 0) return {};
  const pd::block_nr where = *at.map->block(at.index);
  return finding{at.where,
                 {where.value, where.value + 1},
                 {pd::fault::bad_value, fmt::format("it has {} bits, and {} behind them are set",
                                                    at.nr_bits, std::popcount(surplus))},
                 {}};
}

}  // namespace

void check_content(const metadata& m, const pd::block_device& device, const finding_sink& sink) {
  const all_blocks blocks(m);
  const auto new_worker = [&] {
    return [&, reader = content_reader(device),
            positions = std::vector<array_position>()](std::size_t item) mutable {
      std::vector<finding> findings;
      blocks.positions({item * blocks_per_item, (item + 1) * blocks_per_item}, positions);
      const auto look = [&](std::size_t k, const pd::block& b) {
        const array_position& at = positions[k];
        return at.where.what == part::era_array ? find_future_eras(at, b, {m.sb.current_era})
                                                : check_bits(at, b);
      };
      reader.read(positions, look, findings);
      return findings;
    };
  };
  const auto use = [&](std::size_t, std::vector<finding> findings) {
    for (finding& f : findings) sink(std::move(f));
  };
  pd::in_order(device.nr_workers(), (blocks.size() + blocks_per_item - 1) / blocks_per_item,
               new_worker, use);
}

}  // namespace era
