// SPDX-License-Identifier: GPL-3.0-or-later
// All sections, the writesets and then the era array, are one row of stripes for the workers.
#include "era/metadata/copy_metadata.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "era/metadata/content.h"
#include "era/metadata/stripe.h"
#include "persistent-data/io/workers.h"

namespace era {
namespace {

struct copied_stripe {
  encoded_stripe encoded;
  std::vector<finding> findings;
};

// Reads and encodes stripes, in one thread.
class stripe_encoder {
 public:
  stripe_encoder(const metadata& m, const pd::block_device& device, copy_form form,
                 const metadata_sink& sink)
      : m_(m),
        sink_(sink),
        reader_(device),
        folder_(m, device,
                form == copy_form::logical ? fold_what::everything : fold_what::era_array_only) {}

  copied_stripe of_writeset(const writeset& ws, std::uint64_t stripe) {
    copied_stripe made;
    const array_position position{&ws.bits, ws.where, stripe, ws.nr_bits};
    const auto encode = [&](std::size_t, const pd::block& b) -> std::optional<finding> {
      made.encoded = sink_.encode_bits(position.origin_blocks(), pd::array_values<pd::le64>(b));
      return {};
    };
    reader_.read(std::span(&position, 1), encode, made.findings);
    return made;
  }

  copied_stripe of_array(std::uint64_t stripe) {
    copied_stripe made;
    const auto eras = folder_.fold(stripe, made.findings);
    made.encoded =
        sink_.encode_eras(static_cast<std::uint32_t>(stripe_blocks(m_, stripe).begin), eras);
    return made;
  }

 private:
  const metadata& m_;
  const metadata_sink& sink_;
  content_reader reader_;
  stripe_folder folder_;
};

class copier {
 public:
  copier(const metadata& m, const pd::block_device& device, copy_form form, metadata_sink& to,
         const finding_sink& sink)
      : m_(m), device_(device), form_(form), to_(to), sink_(sink) {
    std::uint64_t end = 0;
    if (form == copy_form::as_it_is)
      for (const writeset& ws : m.writesets) ends_.push_back(end += ws.bits.nr_blocks());
    ends_.push_back(end + nr_stripes(m));
  }

  bool copy() {
    const auto new_worker = [this] {
      return [this, encoder = stripe_encoder(m_, device_, form_, to_)](std::size_t i) mutable {
        const std::size_t section = section_of(i);
        const std::uint64_t within = i - (section == 0 ? 0 : ends_[section - 1]);
        return is_writeset(section) ? encoder.of_writeset(m_.writesets[section], within)
                                    : encoder.of_array(within);
      };
    };
    struct ended_by_damage {};
    const auto use = [this](std::size_t i, const copied_stripe& made) {
      for (const finding& f : made.findings) sink_(f);
      if (!made.findings.empty()) throw ended_by_damage();
      while (i >= ends_[open_]) next_section();
      to_.append(made.encoded);
    };
    to_.begin_superblock({m_.sb.data_block_size, m_.sb.nr_blocks, {m_.sb.current_era}, m_.sb.uuid});
    begin_section();
    try {
      pd::in_order(device_.nr_workers(), ends_.back(), new_worker, use);
    } catch (const ended_by_damage&) {
      return false;
    }
    while (is_writeset(open_)) next_section();
    to_.end_era_array();
    to_.end_superblock();
    return true;
  }

 private:
  // The last section is the era array.
  bool is_writeset(std::size_t section) const { return section + 1 < ends_.size(); }

  std::size_t section_of(std::uint64_t stripe) const {
    const auto at = std::upper_bound(ends_.begin(), ends_.end(), stripe);
    return static_cast<std::size_t>(at - ends_.begin());
  }

  void begin_section() {
    if (is_writeset(open_))
      to_.begin_writeset(m_.writesets[open_].where.era, m_.writesets[open_].nr_bits);
    else
      to_.begin_era_array();
  }

  void next_section() {
    to_.end_writeset();
    ++open_;
    begin_section();
  }

  const metadata& m_;
  const pd::block_device& device_;
  const copy_form form_;
  metadata_sink& to_;
  const finding_sink& sink_;
  std::vector<std::uint64_t> ends_;  // of each section, in stripes of all of them
  std::size_t open_ = 0;
};

}  // namespace

bool copy_metadata(const metadata& m, const pd::block_device& device, copy_form form,
                   metadata_sink& to, const finding_sink& sink) {
  return copier(m, device, form, to, sink).copy();
}

}  // namespace era
