// SPDX-License-Identifier: GPL-3.0-or-later
// The classes of damage, and what each of them means to those who read around it. A new class is a
// line of the enumeration and a row of the table.
#pragma once

#include <string_view>

namespace persistent_data {

enum class error_class {
  io_error,       // could not be read
  bad_checksum,   // the checksum does not match the content
  wrong_kind,     // intact, but a block of another kind
  wrong_place,    // intact, but written for another block
  bad_shape,      // a count, a size, a flag or the order of keys contradicts the format
  bad_pointer,    // points outside the device or at the superblock
  cross_linked,   // reached twice, and the format has one owner
  in_doubt,       // sound, but its references contradict the space map or another owner
  missing,        // something that must be there is not
  bad_value,      // a value that cannot be
  out_of_order,   // an archived writeset lists a block that has a newer era in the era array
  cut_off,        // counted, and nothing leads to it, though it lists writes or leads to lists
  count_too_low,  // the space map counts fewer references than there are
  count_too_high  // the space map counts more references than there are: a leak
};

enum class fatality { fatal, harmless };
// Does damage of the class hide what the block refers to, so that it looks unused? A tree's node
// that is reached twice was followed the first time, and hides nothing; a block of the space map is
// not read then, and hides what it counts.
enum class references { kept, hidden_in_space_map, hidden };
// Can the sizes and keys that the block tells be trusted? Not if it contradicts the format, or
// another sound block.
enum class keys { trusted, doubted };
// Does it say that intact blocks do not belong together? Then the last write of one of them was
// lost. The space map's blocks are not shared with snapshots: more contradicts there.
enum class lost_write { no, in_space_map, yes };

// Every column has to be given: a row that lacks one does not compile.
struct error_class_row {
  constexpr error_class_row(std::string_view n, fatality f, references r, keys k, lost_write w,
                            std::string_view m)
      : name(n), is_fatal(f == fatality::fatal), hidden(r), key_trust(k), shows(w), meaning(m) {}

  std::string_view name;  // the word that programs can rely on
  bool is_fatal;
  references hidden;
  keys key_trust;
  lost_write shows;
  std::string_view meaning;  // for users; empty: it depends on the place and on what is hidden
};

// The table. A class that lacks a row does not compile.
constexpr error_class_row row_of(error_class what) noexcept {
  switch (what) {
    case error_class::io_error:
      return {"io-error", fatality::fatal, references::hidden, keys::trusted, lost_write::no, ""};
    case error_class::bad_checksum:
      return {"bad-checksum", fatality::fatal, references::hidden,
              keys::trusted,  lost_write::no,  ""};
    case error_class::wrong_kind:
      return {"wrong-kind",  fatality::fatal, references::hidden,
              keys::trusted, lost_write::yes, ""};
    case error_class::wrong_place:
      return {"wrong-place", fatality::fatal, references::hidden,
              keys::trusted, lost_write::no,  ""};
    case error_class::bad_shape:
      return {"bad-shape", fatality::fatal, references::hidden, keys::doubted, lost_write::yes, ""};
    case error_class::bad_pointer:
      return {"bad-pointer", fatality::fatal,          references::hidden,
              keys::trusted, lost_write::in_space_map, ""};
    case error_class::cross_linked:
      return {"cross-linked", fatality::fatal,          references::hidden_in_space_map,
              keys::doubted,  lost_write::in_space_map, ""};
    case error_class::in_doubt:
      return {"in-doubt",    fatality::fatal,          references::hidden,
              keys::doubted, lost_write::in_space_map, ""};
    case error_class::missing:
      return {"missing", fatality::fatal, references::kept, keys::trusted, lost_write::yes, ""};
    case error_class::bad_value:
      return {"bad-value", fatality::fatal, references::kept, keys::doubted, lost_write::yes, ""};
    case error_class::out_of_order:
      return {"out-of-order",
              fatality::fatal,
              references::kept,
              keys::trusted,
              lost_write::no,
              "digestion would give these blocks the older era: do not activate the device"};
    case error_class::cut_off:
      return {"cut-off",
              fatality::fatal,
              references::kept,
              keys::trusted,
              lost_write::yes,
              "a write that led to it may be lost, and blocks would be missing from lists"};
    case error_class::count_too_low:
      return {"count-too-low",
              fatality::fatal,
              references::kept,
              keys::trusted,
              lost_write::yes,
              "the kernel may overwrite metadata that is in use: do not activate the device"};
    case error_class::count_too_high:
      return {"count-too-high", fatality::harmless, references::kept,
              keys::trusted,    lost_write::no,     "space is wasted; no era is affected"};
  }
  __builtin_unreachable();
}

constexpr std::string_view name(error_class what) noexcept { return row_of(what).name; }

}  // namespace persistent_data
