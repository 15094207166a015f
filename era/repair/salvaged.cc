// SPDX-License-Identifier: GPL-3.0-or-later
// Reading what was saved, a stripe at a time.
#include "era/repair/salvaged.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "era/format/writeset.h"
#include "era/xml/run_joiner.h"
#include "persistent-data/io/workers.h"

namespace era {
namespace {

constexpr std::size_t words_per_stripe = bits_per_bitset_block / bits_per_word;
using stripe_bits = std::array<std::uint64_t, words_per_stripe>;

enum class lost_blocks { filled, left_out };

pd::range origin_blocks_of(std::uint64_t stripe, std::uint64_t end) {
  return pd::intersection({stripe * bits_per_bitset_block, (stripe + 1) * bits_per_bitset_block},
                          {0, end});
}

std::uint64_t stripes_for(std::uint64_t blocks) {
  return (blocks + bits_per_bitset_block - 1) / bits_per_bitset_block;
}

void set(stripe_bits& bits, pd::range r) {
  for (std::uint64_t at = r.begin; at < r.end;) {
    const std::uint64_t low = at % bits_per_word;
    const std::uint64_t n = std::min<std::uint64_t>(r.end - at, bits_per_word - low);
    bits[at / bits_per_word] |=
        (n == bits_per_word ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1) << low;
    at += n;
  }
}

template <class Take>
void each_set(const stripe_bits& bits, Take take) {
  for (std::size_t w = 0; w < bits.size(); ++w)
    for (std::uint64_t word = bits[w]; word != 0; word &= word - 1)
      take(w * bits_per_word + static_cast<unsigned>(std::countr_zero(word)));
}

}  // namespace

// Puts stripes together, for one thread.
class salvaged_reader {
 public:
  salvaged_reader(const salvaged& s, const pd::block_device& device)
      : s_(s), queue_(device.make_engine(), device.nr_blocks()) {}

  const stripe_bits& bits(const salvaged_writeset& ws, std::uint64_t stripe, lost_blocks lost) {
    bits_.fill(0);
    bool all_read = true;
    for (const salvaged_bitset& bitset : ws.bitsets)
      if (bitset.era_known || lost == lost_blocks::filled)
        all_read = add(bitset.map, stripe) && all_read;
    if (lost == lost_blocks::filled) {
      const pd::range here = origin_blocks_of(stripe, ws.nr_bits);
      const pd::range filled = all_read ? pd::intersection(ws.all_of, here) : here;
      if (!filled.empty()) set(bits_, {filled.begin - here.begin, filled.end - here.begin});
    }
    if (lost == lost_blocks::left_out) return bits_;
    for (const auto& loose : ws.loose.of({stripe, stripe + 1})) add(pd::block_nr{loose.block});
    return bits_;
  }

  // As a document lists them. A block that is newer in the array is left to that: digestion writes
  // the writeset's era into the array, whatever is there.
  const stripe_bits& listed_bits(std::uint32_t era, const salvaged_writeset& ws,
                                 std::uint64_t stripe) {
    bits(ws, stripe, lost_blocks::filled);
    if (!s_.doubtful) return bits_;
    eras(stripe, false, lost_blocks::filled);
    for (std::size_t i = 0; i < eras_.size(); ++i)
      if (eras_[i] > era) bits_[i / bits_per_word] &= ~(std::uint64_t{1} << i % bits_per_word);
    return bits_;
  }

  // The array's eras alone, or with all writesets.
  const std::vector<std::uint32_t>& eras(std::uint64_t stripe, bool folded, lost_blocks lost) {
    const pd::range here = origin_blocks_of(stripe, s_.nr_blocks);
    eras_.assign(here.size(), 0);
    read_array(stripe, lost);
    if (!folded) return eras_;
    for (const auto& [era, ws] : s_.writesets)
      each_set(bits(ws, stripe, lost), [&, era = era](std::size_t i) {
        if (i < eras_.size()) eras_[i] = std::max(eras_[i], era);
      });
    return eras_;
  }

 private:
  // False where the block is lost.
  bool add(const pd::array_map& map, std::uint64_t stripe) {
    if (stripe >= map.nr_blocks()) return true;
    bool sound = false;
    if (const auto where = map.block(stripe))
      queue_.read(std::span(&*where, 1), [&](std::size_t, const pd::block* data, int error) {
        if (map.examine_block(stripe, data, error)) return;
        sound = true;
        raise(*data);
      });
    return sound;
  }

  void add(pd::block_nr loose) {
    queue_.read(std::span(&loose, 1), [&](std::size_t, const pd::block* data, int) {
      if (data && is_loose(*data, loose, sizeof(pd::le64))) raise(*data);
    });
  }

  static bool is_loose(const pd::block& b, pd::block_nr where, std::uint32_t value_size) {
    return pd::identify(b, where) == &pd::array_block_kind && pd::is_array_block_of(b, value_size);
  }

  void raise(const pd::block& b) {
    const auto words = pd::array_values<pd::le64>(b);
    for (std::size_t w = 0; w < words.size(); ++w) bits_[w] |= words[w];
  }

  void read_array(std::uint64_t stripe, lost_blocks lost) {
    const pd::array_map& map = s_.eras;
    const std::uint64_t first = stripe * array_blocks_per_stripe;
    const std::uint64_t end = std::min(first + array_blocks_per_stripe, map.nr_blocks());
    wanted_.clear();
    places_.clear();
    std::array<bool, array_blocks_per_stripe> sound{};
    for (std::uint64_t i = first; i < end; ++i)
      if (const auto where = map.block(i)) {
        wanted_.push_back(*where);
        places_.push_back(i);
      }
    const std::size_t own = wanted_.size();
    if (lost == lost_blocks::filled)
      for (const auto& loose : s_.older_eras.of({first, end})) {
        wanted_.push_back({loose.block});
        places_.push_back(loose.index);
      }
    queue_.read(wanted_, [&](std::size_t w, const pd::block* data, int error) {
      const std::uint64_t i = places_[w];
      if (w < own)
        sound[i - first] = !map.examine_block(i, data, error) && raise(*data, i - first);
      else if (data && is_loose(*data, wanted_[w], sizeof(pd::le32)))
        raise(*data, i - first);
    });
    if (lost == lost_blocks::left_out) return;
    for (std::uint64_t i = first; i < end; ++i)
      if (!sound[i - first]) {
        const auto begin = eras_.begin() + static_cast<std::ptrdiff_t>((i - first) * per_block);
        std::fill_n(begin, std::min<std::ptrdiff_t>(per_block, eras_.end() - begin),
                    s_.current_era.value);
      }
  }

  // False where it has eras that cannot be: then none of them is believed.
  bool raise(const pd::block& b, std::uint64_t place) {
    const auto values = pd::array_values<pd::le32>(b);
    if (std::any_of(values.begin(), values.end(),
                    [&](std::uint32_t era) { return era > s_.last_possible.value; }))
      return false;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t at = place * per_block + i;
      if (at < eras_.size()) eras_[at] = std::max<std::uint32_t>(eras_[at], values[i]);
    }
    return true;
  }

  static constexpr std::ptrdiff_t per_block = eras_per_array_block;

  const salvaged& s_;
  pd::read_queue queue_;
  stripe_bits bits_;
  std::vector<std::uint32_t> eras_;
  std::vector<pd::block_nr> wanted_;
  std::vector<std::uint64_t> places_;
};

namespace {

using runs = std::vector<value_run>;

void add(runs& to, std::uint64_t begin, std::uint64_t end, std::uint32_t value) {
  if (begin < end) to.push_back({{begin, end}, value});
}

runs runs_of(const stripe_bits& bits, pd::range blocks) {
  const auto is_set = [&](std::uint64_t i) {
    return bits[i / bits_per_word] >> i % bits_per_word & 1;
  };
  runs found;
  for (std::uint64_t i = 0; i < blocks.size();) {
    const std::uint64_t begin = i;
    const auto value = is_set(begin);
    const std::uint64_t whole = value ? ~std::uint64_t{0} : 0;
    while (i < blocks.size() && is_set(i) == value)
      i += i % bits_per_word == 0 && bits[i / bits_per_word] == whole ? bits_per_word : 1;
    i = std::min(i, blocks.size());
    add(found, blocks.begin + begin, blocks.begin + i, static_cast<std::uint32_t>(value));
  }
  return found;
}

runs runs_of(const std::vector<std::uint32_t>& eras, std::uint64_t first) {
  runs found;
  for (std::size_t i = 0; i < eras.size();) {
    const std::size_t begin = i;
    while (i < eras.size() && eras[i] == eras[begin]) ++i;
    add(found, first + begin, first + i, eras[begin]);
  }
  return found;
}

// Makes the runs of each stripe in parallel, and uses them in order.
template <class Make, class Use>
void each_stripe(const salvaged& s, const pd::block_device& device, std::uint64_t stripes,
                 Make make, Use use) {
  const auto new_worker = [&] {
    return [&, reader = salvaged_reader(s, device)](std::size_t stripe) mutable {
      return make(reader, stripe);
    };
  };
  pd::in_order(device.nr_workers(), stripes, new_worker,
               [&](std::size_t, auto made) { use(std::move(made)); });
}

constexpr std::uint64_t bytes_per_bitset_stripe = pd::block_size,
                        bytes_per_stripe = array_blocks_per_stripe * pd::block_size;

}  // namespace

salvaged_folder::salvaged_folder(const salvaged& s, const pd::block_device& device)
    : reader_(std::make_unique<salvaged_reader>(s, device)) {}
salvaged_folder::salvaged_folder(salvaged_folder&&) noexcept = default;
salvaged_folder::~salvaged_folder() = default;

const std::vector<std::uint32_t>& salvaged_folder::known(std::uint64_t stripe) {
  return reader_->eras(stripe, true, lost_blocks::left_out);
}

const std::vector<std::uint32_t>& salvaged_folder::assumed(std::uint64_t stripe) {
  return reader_->eras(stripe, true, lost_blocks::filled);
}

std::uint64_t document_bytes(const salvaged& s, bool logical) {
  std::uint64_t bytes = stripes_for(s.nr_blocks) * bytes_per_stripe;
  if (!logical)
    for (const auto& [era, ws] : s.writesets)
      bytes += stripes_for(ws.nr_bits) * bytes_per_bitset_stripe;
  return bytes;
}

void write_document(const salvaged& s, const pd::block_device& device, bool logical,
                    xml::document& to, const std::function<void(std::uint64_t)>& step) {
  std::uint64_t done = 0;
  to.begin_superblock({s.block_size, s.nr_blocks, s.current_era});
  for (const auto& [era, ws] : s.writesets) {
    if (logical) break;
    to.begin_writeset({era}, ws.nr_bits);
    const auto make = [&era = era, &ws = ws](salvaged_reader& reader, std::uint64_t stripe) {
      return runs_of(reader.listed_bits(era, ws, stripe), origin_blocks_of(stripe, ws.nr_bits));
    };
    each_stripe(s, device, stripes_for(ws.nr_bits), make, [&](const runs& made) {
      for (const value_run& run : made) to.bits(run.blocks, run.value != 0);
      step(done += bytes_per_bitset_stripe);
    });
    to.end_writeset();
  }
  to.begin_era_array();
  const auto make = [&](salvaged_reader& reader, std::uint64_t stripe) {
    return runs_of(reader.eras(stripe, logical, lost_blocks::filled),
                   stripe * bits_per_bitset_block);
  };
  each_stripe(s, device, stripes_for(s.nr_blocks), make, [&](const runs& made) {
    for (const value_run& run : made) to.eras(run.blocks, {run.value});
    step(done += bytes_per_stripe);
  });
  to.end_era_array();
  to.end_superblock();
}

std::uint64_t count_assumed(const salvaged& s, const pd::block_device& device) {
  std::uint64_t assumed = 0;
  const auto make = [&](salvaged_reader& reader, std::uint64_t stripe) {
    const std::vector<std::uint32_t> known = reader.eras(stripe, true, lost_blocks::left_out);
    const auto& all = reader.eras(stripe, true, lost_blocks::filled);
    std::uint64_t here = 0;
    for (std::size_t i = 0; i < all.size(); ++i) here += all[i] != known[i];
    return here;
  };
  each_stripe(s, device, stripes_for(s.nr_blocks), make,
              [&](std::uint64_t here) { assumed += here; });
  return assumed;
}

}  // namespace era
