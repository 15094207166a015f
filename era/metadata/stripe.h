// SPDX-License-Identifier: GPL-3.0-or-later
// Reads metadata a stripe at a time, and folds it: the era in which each origin block was last
// written, or whether that was in a window of eras.
//
//   blocks of the era array --+
//   blocks of bitsets --------+-> stripe_reader -> write_evidence -> stripe_folder, stripe_filter
//   losses and stray blocks --+
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "era/damage/finding.h"
#include "era/metadata/content.h"
#include "era/metadata/metadata.h"
#include "era/metadata/write_evidence.h"

namespace era {

std::uint64_t nr_stripes(const metadata&) noexcept;
origin_range stripe_blocks(const metadata&, std::uint64_t stripe) noexcept;

// How a reader treats a block that cannot be used.
enum class loss_policy {
  refuse,          // a finding: what was read is incomplete, and must not be passed on
  assume_written,  // all that it covers was written as late as it can have been; no finding
  omit             // nothing; for what only looks for further damage
};

enum class fold_scope {
  everything,
  era_array_only  // as far as writesets have been digested
};

// For one thread; borrows the metadata and the device.
class stripe_reader {
 public:
  stripe_reader(const metadata&, const pd::block_device&, loss_policy);

  // Hands over all evidence for the blocks of a stripe, in any order. The sink is done with it when
  // it returns. Adds findings if the policy is to refuse.
  using evidence_sink = std::function<void(const write_evidence&)>;
  void read(std::uint64_t stripe, fold_scope, const evidence_sink&, std::vector<finding>& findings);

  // Begins to read what read() needs for these stripes, for which it is going to be called.
  void prefetch(pd::range stripes, fold_scope);

  // As read(), but only from bitsets of older eras, and without the evidence that replaces losses.
  void read_older(std::uint64_t stripe, era_nr than, const evidence_sink&,
                  std::vector<finding>& findings);

  // The same of one writeset: of the bits of all that are of this era, which are those with indices
  // [same_era.begin, same_era.end).
  void read_writeset(era_nr, pd::range same_era, std::uint64_t stripe, const evidence_sink&,
                     std::vector<finding>& findings);

  // Begins to read what read_writeset() needs for these stripes, of one writeset after the other.
  struct part_of_writeset {
    pd::range same_era, stripes;
  };
  void prefetch_writesets(std::span<const part_of_writeset>);

 private:
  void begin(std::uint64_t stripe, origin_range blocks, const evidence_sink&,
             std::vector<finding>&);
  pd::range array_blocks_of(std::uint64_t stripe) const;
  void add_position(const writeset&, std::uint64_t stripe);
  void add_positions_of_array(std::uint64_t stripe);
  void want(const writeset&);
  void read_wanted();
  std::optional<finding> take_eras(const array_position&, const pd::block*);
  std::optional<finding> take_bits(const array_position&, const pd::block*);
  bool has_been_checked() const;
  void add_stray_eras(pd::range of_array);
  void add_stray_bits();
  void add_eras_anywhere();
  void add_ranges();
  void add_eras(std::uint64_t first, std::span<const pd::le32>, write_evidence) const;
  void add_words(std::span<const pd::le64>, write_evidence) const;
  void add_written(origin_range blocks, write_evidence) const;

  const metadata& metadata_;
  const loss_policy policy_;
  content_reader reader_;
  std::vector<array_position> positions_;
  std::vector<assumed_ranges::stripe_part> parts_;
  // The current read:
  std::uint64_t stripe_ = 0;
  origin_range blocks_;  // that evidence may be about
  const evidence_sink* sink_ = nullptr;
  std::vector<finding>* findings_ = nullptr;
  std::vector<finding> unreported_;
};

// For one thread; borrows the metadata and the device.
class stripe_folder {
 public:
  stripe_folder(const metadata&, const pd::block_device&, fold_scope = fold_scope::everything,
                loss_policy = loss_policy::refuse);

  // Folds a stripe: returns assumed(). The result, and that of known(), is valid until the next
  // call.
  std::span<const std::uint32_t> fold(std::uint64_t stripe, std::vector<finding>& findings);

  // Begins to read stripes that are going to be folded.
  void prefetch(pd::range stripes) { reader_.prefetch(stripes, what_); }

  // The last era of each block: as far as it is known, and as it has to be assumed. The truth is
  // neither older than the former nor newer than the latter.
  std::span<const std::uint32_t> known() const noexcept { return known_; }
  std::span<const std::uint32_t> assumed() const noexcept {
    return any_assumed_ ? assumed_ : known_;
  }
  // Blocks of which they differ.
  std::uint64_t nr_assumed() const noexcept;

 private:
  const metadata& metadata_;
  const fold_scope what_;
  stripe_reader reader_;
  std::vector<std::uint32_t> known_, assumed_;
  bool any_assumed_ = false;
};

// The blocks whose last era is in a window of eras, found without folding each block. For one
// thread; borrows the metadata and the device.
class stripe_filter {
 public:
  stripe_filter(const metadata&, const pd::block_device&, era_range window,
                loss_policy = loss_policy::refuse);

  // Block i of the stripe has bit i % 64 of word i / 64: set if one of the eras from known() to
  // assumed() is in the window. No bit past the stripe's end is set. Valid until the next call, and
  // the caller's to change till then.
  std::span<std::uint64_t> filter(std::uint64_t stripe, std::vector<finding>& findings);

  // Begins to read stripes that are going to be filtered.
  void prefetch(pd::range stripes) { reader_.prefetch(stripes, fold_scope::everything); }

  // Listed blocks of the last answer that may be outside of the window: one of their eras from
  // known() to assumed() is.
  std::uint64_t nr_in_doubt() const noexcept { return nr_in_doubt_; }

 private:
  // The blocks that were written in an era or later.
  struct since {
    std::uint64_t era;
    std::vector<std::uint64_t> known, assumed;

    void reset(std::uint64_t nr_blocks);
    void add(const write_evidence&);
    void add_eras(std::vector<std::uint64_t>& bits, std::uint64_t first,
                  std::span<const pd::le32>) const;
  };

  const metadata& metadata_;
  stripe_reader reader_;
  since begin_, end_;
  std::uint64_t nr_in_doubt_ = 0;
};

}  // namespace era
