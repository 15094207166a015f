// SPDX-License-Identifier: GPL-3.0-or-later
// The classes of damage, and what each of them means to those who read around it. A new class is a
// line of the enumeration and a row of the table.
#pragma once

#include <cstddef>
#include <string_view>

namespace persistent_data {

enum class error_class {
  io_error,       // could not be read
  bad_checksum,   // the checksum does not match the content
  wrong_kind,     // intact, but a block of another kind
  wrong_place,    // intact, but written for another block
  bad_shape,      // a count, a size, a flag or the order of keys contradicts the format
  bad_pointer,    // points outside the device or at the superblock
  cross_linked,   // reached twice where the format has one owner
  in_doubt,       // sound, but who refers to it contradicts the space map or another owner
  missing,        // something that must be there is not
  bad_value,      // a value that cannot be
  out_of_order,   // an archived writeset lists a block that has a newer era in the era array
  count_too_low,  // the space map counts fewer references than there are
  count_too_high  // the space map counts more references than there are: a leak
};

enum class fatality { fatal, harmless };
// Does damage of the class hide what the block refers to, so that it looks unused?
enum class references { kept, hidden_in_space_map, hidden };
// Do sound blocks contradict each other or the format? Then their sizes and keys are in doubt, too.
enum class evidence { of_one_block, contradictory };

// All columns have to be given: a row that lacks one does not compile.
struct error_class_row {
  constexpr error_class_row(error_class t, std::string_view n, fatality f, references r, evidence e,
                            std::string_view m)
      : type(t), name(n), is_fatal(f == fatality::fatal), hidden(r), proof(e), meaning(m) {}

  error_class type;
  std::string_view name;  // the word that programs can rely on
  bool is_fatal;
  references hidden;
  evidence proof;
  std::string_view meaning;  // for users; empty: it depends on the place and on what is hidden
};

inline constexpr error_class_row error_classes[] = {
    {error_class::io_error, "io-error", fatality::fatal, references::hidden, evidence::of_one_block,
     ""},
    {error_class::bad_checksum, "bad-checksum", fatality::fatal, references::hidden,
     evidence::of_one_block, ""},
    {error_class::wrong_kind, "wrong-kind", fatality::fatal, references::hidden,
     evidence::of_one_block, ""},
    {error_class::wrong_place, "wrong-place", fatality::fatal, references::hidden,
     evidence::of_one_block, ""},
    {error_class::bad_shape, "bad-shape", fatality::fatal, references::hidden,
     evidence::contradictory, ""},
    {error_class::bad_pointer, "bad-pointer", fatality::fatal, references::hidden,
     evidence::of_one_block, ""},
    {error_class::cross_linked, "cross-linked", fatality::fatal, references::hidden_in_space_map,
     evidence::contradictory, ""},
    {error_class::in_doubt, "in-doubt", fatality::fatal, references::hidden,
     evidence::contradictory, ""},
    {error_class::missing, "missing", fatality::fatal, references::kept, evidence::of_one_block,
     ""},
    {error_class::bad_value, "bad-value", fatality::fatal, references::kept,
     evidence::contradictory, ""},
    {error_class::out_of_order, "out-of-order", fatality::fatal, references::kept,
     evidence::of_one_block,
     "digestion would give these blocks the older era: do not activate the device"},
    {error_class::count_too_low, "count-too-low", fatality::fatal, references::kept,
     evidence::of_one_block,
     "the kernel may overwrite metadata that is in use: do not activate the device"},
    {error_class::count_too_high, "count-too-high", fatality::harmless, references::kept,
     evidence::of_one_block, "space is wasted; no era is affected"},
};

constexpr const error_class_row& row_of(error_class what) noexcept {
  return error_classes[static_cast<std::size_t>(what)];
}
constexpr std::string_view name(error_class what) noexcept { return row_of(what).name; }

namespace detail {
constexpr bool has_a_row_for_each_class() {
  std::size_t i = 0;
  for (const error_class_row& row : error_classes)
    if (row.type != static_cast<error_class>(i++)) return false;
  return i == static_cast<std::size_t>(error_class::count_too_high) + 1;
}
}  // namespace detail
static_assert(detail::has_a_row_for_each_class());

}  // namespace persistent_data
