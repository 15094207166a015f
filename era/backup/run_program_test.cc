// SPDX-License-Identifier: GPL-3.0-or-later
// Programs that end well, badly, or are not there.
#include "era/backup/run_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "persistent-data/format/errors.h"

namespace era {
namespace {

using ::testing::HasSubstr;

std::string error_of(const std::vector<std::string>& arguments) {
  try {
    run_program(arguments, "a-package");
    return "";
  } catch (const persistent_data::device_error& e) {
    return e.what();
  }
}

TEST(RunProgram, ReturnsWhatItPrints) {
  EXPECT_EQ(run_program({"printf", "%s-", "a b", "$HOME"}, ""), "a b-$HOME-");
  EXPECT_EQ(run_program({"sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x"}, "").size(), 300000u);
  EXPECT_EQ(run_program({"cat"}, ""), "");
}

TEST(RunProgram, SaysHowItEnded) {
  EXPECT_EQ(error_of({"sh", "-c", "echo words; echo why >&2; exit 3"}),
            "sh -c echo words; echo why >&2; exit 3: why");
  EXPECT_THAT(error_of({"false"}), HasSubstr("false: ended with status 1"));
  EXPECT_THAT(error_of({"sh", "-c", "kill -9 $$"}), HasSubstr("was ended by signal 9"));
  EXPECT_THAT(error_of({"no-such-program"}),
              HasSubstr("cannot run no-such-program: No such file or directory; install Debian's "
                        "package a-package"));
}

}  // namespace
}  // namespace era
