// SPDX-License-Identifier: GPL-3.0-or-later
// The array's eras of a stripe are folded; then each bitset block of an older era is held against
// them, bit by bit. Metadata that digestion has written has no such stripe.
#include "era/metadata/order.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "persistent-data/io/workers.h"

namespace era {
namespace {

struct compared_stripe {
  std::vector<out_of_order> wrong;
  std::vector<finding> findings;
};

// For one thread.
class order_checker {
 public:
  order_checker(const metadata& m, const pd::block_device& device, loss_policy policy)
      : current_era_(m.current_era),
        array_(m, device, fold_scope::era_array_only, policy),
        reader_(m, device, policy) {}

  compared_stripe check(std::uint64_t stripe, era_nr newest) {
    compared_stripe result;
    auto& found = result.wrong;
    const auto eras = array_.fold(stripe, result.findings);
    const auto compare = [&](const write_evidence& e) {
      // An impossible era is damage of another class.
      if (e.era.value == 0) return;
      if (const auto wrong = compare_with(eras, e, stripe)) found.push_back(*wrong);
    };
    reader_.read_older(stripe, newest, compare, result.findings);
    std::sort(found.begin(), found.end(), [](const out_of_order& a, const out_of_order& b) {
      return std::tuple(a.where.era, a.block) < std::tuple(b.where.era, b.block);
    });
    return result;
  }

 private:
  std::optional<out_of_order> compare_with(std::span<const std::uint32_t> eras,
                                           const write_evidence& e, std::uint64_t stripe) const {
    std::uint64_t count = 0;
    std::size_t first = 0;
    const auto look = [&](std::size_t i) {
      if (i < eras.size() && eras[i] > e.era.value && eras[i] <= current_era_.value && count++ == 0)
        first = i;
    };
    for_each_set_bit(e.words, look);
    for (std::size_t i = e.first; i < std::size_t{e.first} + e.size; ++i) look(i);
    if (count == 0) return {};
    return out_of_order{
        e.from->where,
        e.from->map->block(stripe).value_or(pd::block_nr{}),
        count,
        origin_block{static_cast<std::uint32_t>(stripe * blocks_per_stripe + first)},
        {eras[first]}};
  }

  era_nr current_era_;
  stripe_folder array_;
  stripe_reader reader_;
};

}  // namespace

std::string in_words(const out_of_order& wrong) {
  return fmt::format(
      "blocks that it lists have a newer era in the era array ({} of them); the first is origin "
      "block {} with era {}",
      wrong.count, wrong.first, wrong.newer);
}

void find_out_of_order(const metadata& m, const pd::block_device& device, loss_policy policy,
                       const std::vector<era_nr>& newest,
                       const std::function<void(const out_of_order&)>& use,
                       const finding_sink& sink) {
  if (m.writesets.empty()) return;
  const auto is_older = [](const writeset& a, const writeset& b) { return a.era < b.era; };
  const era_nr oldest = std::min_element(m.writesets.begin(), m.writesets.end(), is_older)->era;
  std::vector<std::uint64_t> suspects;
  for (std::uint64_t s = 0; s < newest.size(); ++s)
    if (newest[s] > oldest) suspects.push_back(s);
  const auto new_worker = [&] {
    return [&, checker = order_checker(m, device, policy)](std::size_t i) mutable {
      return checker.check(suspects[i], newest[suspects[i]]);
    };
  };
  pd::in_order(device.nr_workers(), suspects.size(), new_worker,
               [&](std::size_t, compared_stripe compared) {
                 for (finding& f : compared.findings) sink(std::move(f));
                 for (const out_of_order& wrong : compared.wrong) use(wrong);
               });
}

}  // namespace era
