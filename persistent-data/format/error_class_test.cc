// SPDX-License-Identifier: GPL-3.0-or-later
// The table as it is meant: the names are a promise to programs, and the rest decides what a check
// reports and what a repair assumes.
#include "persistent-data/format/error_class.h"

#include <gtest/gtest.h>

namespace persistent_data {
namespace {

struct expected_row {
  error_class type;
  std::string_view name;
  bool is_fatal;
  references hidden;
  keys key_trust;
  lost_write shows;
  bool has_meaning;
};

class ErrorClass : public ::testing::TestWithParam<expected_row> {};

TEST_P(ErrorClass, IsWhatProgramsAndRepairsRelyOn) {
  const expected_row expected = GetParam();
  const error_class_row row = row_of(expected.type);
  EXPECT_EQ(row.name, expected.name);
  EXPECT_EQ(row.is_fatal, expected.is_fatal);
  EXPECT_EQ(row.hidden, expected.hidden);
  EXPECT_EQ(row.key_trust, expected.key_trust);
  EXPECT_EQ(row.shows, expected.shows);
  EXPECT_EQ(!row.meaning.empty(), expected.has_meaning);
}

constexpr auto hidden = references::hidden, kept = references::kept;
constexpr auto trusted = keys::trusted, doubted = keys::doubted;
using enum lost_write;

INSTANTIATE_TEST_SUITE_P(
    All, ErrorClass,
    ::testing::Values(
        expected_row{error_class::io_error, "io-error", true, hidden, trusted, no, false},
        expected_row{error_class::bad_checksum, "bad-checksum", true, hidden, trusted, no, false},
        expected_row{error_class::wrong_kind, "wrong-kind", true, hidden, trusted, yes, false},
        expected_row{error_class::wrong_place, "wrong-place", true, hidden, trusted, no, false},
        expected_row{error_class::bad_shape, "bad-shape", true, hidden, doubted, yes, false},
        expected_row{error_class::bad_pointer, "bad-pointer", true, hidden, trusted, in_space_map,
                     false},
        expected_row{error_class::cross_linked, "cross-linked", true,
                     references::hidden_in_space_map, doubted, in_space_map, false},
        expected_row{error_class::in_doubt, "in-doubt", true, hidden, doubted, in_space_map, false},
        expected_row{error_class::missing, "missing", true, kept, trusted, yes, false},
        expected_row{error_class::bad_value, "bad-value", true, kept, doubted, yes, false},
        expected_row{error_class::out_of_order, "out-of-order", true, kept, trusted, no, true},
        expected_row{error_class::cut_off, "cut-off", true, kept, trusted, yes, true},
        expected_row{error_class::count_too_low, "count-too-low", true, kept, trusted, yes, true},
        expected_row{error_class::count_too_high, "count-too-high", false, kept, trusted, no,
                     true}));

}  // namespace
}  // namespace persistent_data
