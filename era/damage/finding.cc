// SPDX-License-Identifier: GPL-3.0-or-later
// Findings in words.
#include "era/damage/finding.h"

#include <algorithm>
#include <limits>

#include "era/text/range_text.h"

namespace era {
namespace {

std::string eras_of(pd::range eras) {
  if (eras.begin == 0 && eras.end > std::numeric_limits<std::uint32_t>::max()) return "any era";
  if (eras.end > std::numeric_limits<std::uint32_t>::max())
    return fmt::format("era {} and later ones", eras.begin);
  return in_words("era", eras);
}

}  // namespace

std::string in_words(const place& where) {
  const auto name = [&]() -> std::string {
    switch (where.what) {
      case part::superblock: return "superblock";
      case part::writeset_tree: return "writeset tree";
      case part::writeset: return fmt::format("writeset of era {}", where.era);
      case part::current_writeset: return fmt::format("current writeset (era {})", where.era);
      case part::era_array: return "era array";
      case part::space_map: return "space map";
      case part::reference_counts: return "reference counts";
    }
    return "unknown";
  };
  return where.snapshot ? name() + " of the metadata snapshot" : name();
}

bool is_no_metadata(const finding& f) {
  return f.where.what == part::superblock && !f.where.snapshot &&
         f.error.type == pd::error_class::wrong_kind && !is_unformatted(f.error);
}

bool is_contradiction(const finding& f) {
  const pd::error_class type = f.error.type;
  const pd::lost_write shows = pd::row_of(type).shows;
  switch (f.where.what) {
    case part::superblock: return f.where.snapshot && type == pd::error_class::wrong_kind;
    case part::space_map: return shows != pd::lost_write::no;
    case part::writeset:
    case part::current_writeset:
      // Bits after the last one hide nothing; an impossible size does, and may be a lie.
      if (type == pd::error_class::bad_value && !f.hidden.empty()) return false;
      break;
    case part::writeset_tree:
    case part::era_array:  // bad_value: an era from the future
    case part::reference_counts: break;
  }
  return shows == pd::lost_write::yes;
}

std::string meaning(const finding& f) {
  if (const std::string_view always = pd::row_of(f.error.type).meaning; !always.empty())
    return std::string(always);
  if (f.where.what == part::superblock && !f.where.snapshot &&
      f.error.type == pd::error_class::wrong_kind)
    return "there is no era metadata here";
  if (f.where.what == part::superblock)
    return f.hidden.empty() ? "what the metadata says of the device cannot be trusted"
                            : "which blocks were written, and when, is unknown";
  if (f.where.what == part::space_map && is_contradiction(f))
    return "a write may be lost, and blocks would be missing from lists";
  if (f.hidden.empty() && f.where.what == part::space_map)
    return "the kernel may misjudge its free space; no era is affected";
  if (f.hidden.empty()) return "no origin block's era is affected";
  switch (f.where.what) {
    case part::superblock: break;
    case part::writeset_tree:
      return fmt::format("which blocks were written in {} is unknown", eras_of(f.hidden));
    case part::writeset:
    case part::current_writeset:
      return fmt::format("which of {} were written in era {} is unknown",
                         in_words("origin block", f.hidden), f.where.era);
    case part::era_array:
      return fmt::format("when {} {} last written is unknown", in_words("origin block", f.hidden),
                         f.hidden.size() == 1 ? "was" : "were");
    case part::space_map:
    case part::reference_counts:
      return fmt::format("whether {} {} free is unknown; no era is affected",
                         in_words("metadata block", f.hidden), f.hidden.size() == 1 ? "is" : "are");
  }
  return "";
}

pd::block_error_sink sink_of(const place& where, const finding_sink& sink, std::uint64_t per_value,
                             std::uint64_t limit) {
  const auto scaled = [per_value, limit](std::uint64_t value) {
    return value > limit / per_value ? limit : value * per_value;
  };
  return [=, &sink](const pd::block_error& d) {
    sink({where, pd::one_block(d.block), d.error, {scaled(d.hidden.begin), scaled(d.hidden.end)}});
  };
}

}  // namespace era
