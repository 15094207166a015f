// SPDX-License-Identifier: GPL-3.0-or-later
// Origin blocks that count as written in an era because a loss hides whether they were: ranges, any
// number of them, each with its era.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "era/format/units.h"

namespace era {

// Hostile metadata may have millions of ranges: one takes 12 bytes, and parts_of() takes time for
// the blocks of the stripe, not for the ranges.
class assumed_ranges {
 public:
  struct entry {
    std::uint32_t era, begin, end;  // origin blocks [begin, end)
  };
  // Valid while the ranges are not changed.
  class entries {
   public:
    using iterator = std::deque<entry>::const_iterator;
    entries(const iterator& first, const iterator& last) : first_(first), last_(last) {}
    iterator begin() const noexcept { return first_; }
    iterator end() const noexcept { return last_; }
    bool empty() const noexcept { return first_ == last_; }
    std::size_t size() const noexcept { return static_cast<std::size_t>(last_ - first_); }

   private:
    iterator first_, last_;
  };

  // nr_blocks: of the origin; the rest of a range is cut off.
  void add(std::uint32_t era, origin_range blocks, std::uint32_t nr_blocks);
  // Must be called after the last add() and before all that follows.
  void resolve();

  // All ranges, ascending by era, and those of one era.
  const std::deque<entry>& all() const noexcept { return entries_; }
  entries of_era(std::uint32_t era) const noexcept;

  // Origin blocks [begin, end), counted from the stripe's first one, were written in an era.
  struct stripe_part {
    std::uint32_t begin, end;
    era_nr era;
  };
  // Adds the parts that the ranges have in a stripe: together they say for each of its blocks the
  // newest era whose ranges cover it. Those that others outdo are left out.
  void parts_of(std::uint64_t stripe, std::vector<stripe_part>& parts) const;

 private:
  // A range covers a part of this stripe: blocks [begin, end) of it.
  struct partial {
    std::uint32_t stripe, era;
    std::uint16_t begin, end;
  };

  void resolve_whole_stripes();
  void resolve_partial_stripes();

  std::deque<entry> entries_;
  std::vector<std::uint32_t> whole_;  // by stripe: the newest era that covers all of it; 0: none
  std::vector<partial> partials_;     // by stripe; those that whole_ and others outdo are left out
};

}  // namespace era
