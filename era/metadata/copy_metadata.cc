// SPDX-License-Identifier: GPL-3.0-or-later
// All sections, a writeset for each era and then the era array, are one row of stripes for the
// workers. A writeset has the stripes for which some bitset has a block; the blocks after them are
// assumed to be written, or were not, and go to the sink as runs.
#include "era/metadata/copy_metadata.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "persistent-data/format/divide_up.h"
#include "persistent-data/io/workers.h"

namespace era {
namespace {

constexpr std::uint64_t bytes_per_bitset_stripe = pd::block_size,
                        bytes_per_stripe = array_blocks_per_stripe * pd::block_size;

// All writesets, ranges and stray bits of one era, copied as one writeset. Hostile metadata may
// have four million of them.
struct era_section {
  era_nr era;
  std::uint32_t first = 0;  // of the writesets that are of the era; they go up to the next one's
  std::uint32_t nr_bits = 0;
  std::uint32_t nr_stripes = 0;  // of which some block is known
};

// Calls use(era_section) for each era that has something to be copied, ascending.
template <class Use>
void each_section(const metadata& m, Use use) {
  const auto& ranges = m.lost.ranges.all();
  constexpr era_nr none{0xffffffff};
  std::uint64_t stray_stripes = m.lost.bits_anywhere.empty() ? m.lost.bits.end() : nr_stripes(m);
  auto range = ranges.begin();
  for (std::uint32_t at = 0;;) {
    const era_nr of_writesets = at == m.writesets.size() ? none : m.writesets[at].era;
    const era_nr of_ranges = range == ranges.end() ? none : era_nr{range->era};
    const era_nr of_strays = stray_stripes > 0 ? m.current_era : none;
    era_section section{std::min({of_writesets, of_ranges, of_strays}), at};
    if (section.era == none) return;
    std::uint64_t known = 0;
    for (; at < m.writesets.size() && m.writesets[at].era == section.era; ++at) {
      section.nr_bits = std::max(section.nr_bits, m.writesets[at].nr_bits);
      known = std::max(known, m.writesets[at].bits.known_end());
    }
    for (; range != ranges.end() && range->era == section.era.value; ++range)
      section.nr_bits = std::max(section.nr_bits, range->end);
    if (section.era == m.current_era && stray_stripes > 0) {
      section.nr_bits = std::max(section.nr_bits, m.nr_blocks);
      known = std::max(known, std::exchange(stray_stripes, 0));
    }
    section.nr_stripes = static_cast<std::uint32_t>(std::min(known, stripes_for(section.nr_bits)));
    use(section);
  }
}

bool is_folded(const metadata& m, copy_form form) {
  return form == copy_form::logical || m.lost.must_fold;
}

struct copied_stripe {
  encoded_stripe encoded;
  std::uint64_t bytes = 0;
  std::uint64_t assumed = 0;
  std::vector<finding> findings;
};

// Reads and encodes stripes, for one thread.
class stripe_encoder {
 public:
  stripe_encoder(const metadata& m, const pd::block_device& device, fold_scope what,
                 loss_policy policy, const metadata_sink& sink)
      : m_(m), sink_(sink), reader_(m, device, policy), folder_(m, device, what, policy) {}

  void prefetch_writesets(std::span<const stripe_reader::part_of_writeset> parts) {
    reader_.prefetch_writesets(parts);
  }
  void prefetch_array(pd::range stripes) { folder_.prefetch(stripes); }

  copied_stripe of_writeset(const era_section& section, pd::range writesets, std::uint64_t stripe) {
    copied_stripe made;
    bits_.fill(pd::le64(0));
    reader_.read_writeset(
        section.era, writesets, stripe,
        [&](const write_evidence& e) { set_listed(std::span<pd::le64>(bits_), e); }, made.findings);
    made.encoded = sink_.encode_bits(blocks_of_stripe(stripe, section.nr_bits), bits_);
    made.bytes = bytes_per_bitset_stripe;
    return made;
  }

  copied_stripe of_array(std::uint64_t stripe) {
    copied_stripe made;
    const auto eras = folder_.fold(stripe, made.findings);
    made.encoded =
        sink_.encode_eras(static_cast<std::uint32_t>(stripe_blocks(m_, stripe).begin), eras);
    made.bytes = bytes_per_stripe;
    made.assumed = folder_.nr_assumed();
    return made;
  }

 private:
  const metadata& m_;
  const metadata_sink& sink_;
  stripe_reader reader_;
  stripe_folder folder_;
  std::array<pd::le64, blocks_per_stripe / bits_per_word> bits_;
};

class copier {
 public:
  copier(const metadata& m, const pd::block_device& device, metadata_sink& to,
         const finding_sink& sink, const copy_options& chosen)
      : m_(m),
        device_(device),
        is_folded_(is_folded(m, chosen.form)),
        bitset_stripes_per_item_(to.encodes_large() ? std::clamp(8 / device.nr_workers(), 1u, 2u)
                                                    : 8),
        to_(to),
        sink_(sink),
        chosen_(chosen) {
    if (!is_folded_) list_sections();
  }

  copy_result copy() {
    const fold_scope what = is_folded_ ? fold_scope::everything : fold_scope::era_array_only;
    const auto new_worker = [&, what] {
      return pd::with_prefetch{stripe_encoder(m_, device_, what, chosen_.losses, to_),
                               [this](stripe_encoder& encoder, std::uint64_t item) {
                                 return encode(encoder, stripes_of(item));
                               },
                               [this](stripe_encoder& encoder, std::uint64_t item) {
                                 prefetch(encoder, stripes_of(item));
                               }};
    };
    struct ended_by_damage {};
    std::uint64_t assumed = 0;
    const auto use = [&](std::uint64_t item, const std::vector<copied_stripe>& all) {
      std::uint64_t at = stripes_of(item).begin;
      for (const copied_stripe& made : all) {
        for (const finding& f : made.findings) sink_(f);
        if (!made.findings.empty()) throw ended_by_damage();
        for (; open_ < sections_.size() && at >= ends_[open_]; ++open_) next_section();
        to_.append(made.encoded);
        assumed += made.assumed;
        chosen_.on_progress(done_ += made.bytes);
        ++at;
      }
    };
    to_.begin_superblock({m_.block_size, m_.nr_blocks, m_.current_era, m_.uuid});
    begin_section(0);
    try {
      pd::in_order(device_.nr_workers(), bitset_items() + nr_stripes(m_), new_worker, use);
    } catch (const ended_by_damage&) {
      return {};
    }
    for (; open_ < sections_.size(); ++open_) next_section();
    to_.end_era_array();
    to_.end_superblock();
    return {true, is_folded_ ? std::optional(assumed) : std::nullopt};
  }

 private:
  void list_sections() {
    std::size_t n = 0;
    each_section(m_, [&](const era_section&) { ++n; });
    sections_.reserve(n);
    ends_.reserve(n);
    each_section(m_, [&](const era_section& section) {
      sections_.push_back(section);
      ends_.push_back(static_cast<std::uint32_t>(end_of_writesets() + section.nr_stripes));
    });
  }

  std::uint64_t end_of_writesets() const { return ends_.empty() ? 0 : ends_.back(); }

  std::uint64_t bitset_items() const {
    return pd::divide_up(end_of_writesets(), bitset_stripes_per_item_);
  }
  pd::range stripes_of(std::uint64_t item) const {
    if (item < bitset_items())
      return pd::intersection(
          {item * bitset_stripes_per_item_, (item + 1) * bitset_stripes_per_item_},
          {0, end_of_writesets()});
    const std::uint64_t at = end_of_writesets() + item - bitset_items();
    return {at, at + 1};
  }

  // stripes: of the row.
  std::vector<copied_stripe> encode(stripe_encoder& encoder, pd::range stripes) const {
    std::vector<copied_stripe> made;
    for (std::uint64_t at = stripes.begin; at < stripes.end; ++at)
      made.push_back(at < end_of_writesets() ? encode_bits(encoder, at)
                                             : encoder.of_array(at - end_of_writesets()));
    return made;
  }

  // An item's stripes are of the same kind, but can be of several writesets.
  void prefetch(stripe_encoder& encoder, pd::range stripes) const {
    const std::uint64_t array = end_of_writesets();
    if (stripes.begin >= array)
      return encoder.prefetch_array({stripes.begin - array, stripes.end - array});
    std::vector<stripe_reader::part_of_writeset> parts;
    for (std::uint64_t at = stripes.begin; at < stripes.end;) {
      const auto section = section_at(at);
      const std::uint64_t begin = begin_of(section);
      const auto end = std::min<std::uint64_t>(stripes.end, ends_[section]);
      parts.push_back({writesets_of(section), {at - begin, end - begin}});
      at = end;
    }
    encoder.prefetch_writesets(parts);
  }

  copied_stripe encode_bits(stripe_encoder& encoder, std::uint64_t at) const {
    const std::size_t section = section_at(at);
    return encoder.of_writeset(sections_[section], writesets_of(section), at - begin_of(section));
  }

  std::size_t section_at(std::uint64_t at) const {
    return static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), at) -
                                    ends_.begin());
  }
  // The first stripe of a section, in the row.
  std::uint64_t begin_of(std::size_t section) const {
    return section == 0 ? 0 : ends_[section - 1];
  }
  pd::range writesets_of(std::size_t section) const {
    return {sections_[section].first,
            section + 1 == sections_.size() ? m_.writesets.size() : sections_[section + 1].first};
  }

  void begin_section(std::size_t section) {
    if (section < sections_.size())
      to_.begin_writeset(sections_[section].era, sections_[section].nr_bits);
    else
      to_.begin_era_array();
  }

  void next_section() {
    add_rest(sections_[open_]);
    to_.end_writeset();
    begin_section(open_ + 1);
  }

  // The stripes of which no block is known: what is assumed of them, and nothing else.
  void add_rest(const era_section& section) {
    std::uint64_t at = section.nr_stripes * blocks_per_stripe;
    const auto put = [&](std::uint64_t end, bool value) {
      if (at < end) to_.bits({at, end}, value);
      at = std::max(at, end);
    };
    for (const auto& e : m_.lost.ranges.of_era(section.era.value)) {
      if (e.end <= at) continue;
      put(e.begin, false);
      put(e.end, true);
    }
    put(section.nr_bits, false);
    const std::uint64_t rest = stripes_for(section.nr_bits) - section.nr_stripes;
    if (rest > 0) chosen_.on_progress(done_ += rest * bytes_per_bitset_stripe);
  }

  const metadata& m_;
  const pd::block_device& device_;
  const bool is_folded_;
  // A stripe of a bitset is too little to hand from one thread to another, and to keep a device
  // busy; the text of several is too much for many threads.
  const std::uint64_t bitset_stripes_per_item_;
  metadata_sink& to_;
  const finding_sink& sink_;
  const copy_options& chosen_;
  std::vector<era_section> sections_;  // of writesets
  std::vector<std::uint32_t> ends_;    // of each, in the row of stripes
  std::size_t open_ = 0;               // what has begun in the sink: a section, or the era array
  std::uint64_t done_ = 0;
};

}  // namespace

copy_result copy_metadata(const metadata& m, const pd::block_device& device, metadata_sink& to,
                          const finding_sink& sink, const copy_options& chosen) {
  const copy_result result = copier(m, device, to, sink, chosen).copy();
  require_still_held(device, m);
  return result;
}

std::uint64_t copied_bytes(const metadata& m, copy_form form) {
  std::uint64_t bytes = nr_stripes(m) * bytes_per_stripe;
  if (!is_folded(m, form))
    each_section(m, [&](const era_section& section) {
      bytes += stripes_for(section.nr_bits) * bytes_per_bitset_stripe;
    });
  return bytes;
}

}  // namespace era
