// SPDX-License-Identifier: GPL-3.0-or-later
// The names are a promise to programs.
#include "persistent-data/format/error_class.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>

namespace persistent_data {
namespace {

TEST(ErrorClass, HasTheNameThatProgramsRelyOn) {
  const std::set<std::string_view> expected{
      "io-error",     "bad-checksum",  "wrong-kind",    "wrong-place", "bad-shape",
      "bad-value",    "bad-pointer",   "cross-linked",  "in-doubt",    "missing",
      "out-of-order", "count-too-low", "count-too-high"};
  std::set<std::string_view> names;
  for (const error_class_row& row : error_classes) names.insert(row.name);
  EXPECT_EQ(names, expected);
  EXPECT_EQ(name(error_class::in_doubt), "in-doubt");
}

TEST(ErrorClass, IsFatalUnlessNothingCanBeLost) {
  for (const error_class_row& row : error_classes)
    EXPECT_EQ(row.is_fatal, row.type != error_class::count_too_high) << row.name;
}

// A block that cannot be used hides what it leads to.
TEST(ErrorClass, HidesReferencesIfTheBlockIsUnusable) {
  EXPECT_EQ(row_of(error_class::bad_shape).hidden, references::hidden);
  EXPECT_EQ(row_of(error_class::io_error).hidden, references::hidden);
  EXPECT_EQ(row_of(error_class::cross_linked).hidden, references::hidden_in_space_map);
  EXPECT_EQ(row_of(error_class::bad_value).hidden, references::kept);
}

}  // namespace
}  // namespace persistent_data
