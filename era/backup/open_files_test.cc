// SPDX-License-Identifier: GPL-3.0-or-later
// The soft limit is raised as far as it has to be, and no further.
#include "era/backup/open_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "persistent-data/format/errors.h"

namespace era {
namespace {

using ::testing::HasSubstr;

class OpenFiles : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0); }
  void TearDown() override { ::setrlimit(RLIMIT_NOFILE, &before_); }
  rlim_t soft_limit() const {
    rlimit now{};
    ::getrlimit(RLIMIT_NOFILE, &now);
    return now.rlim_cur;
  }
  rlimit before_{};
};

TEST_F(OpenFiles, AreAsManyAsNeeded) {
  const rlimit few{20, before_.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  allow_open_files(90, "it");
  EXPECT_EQ(soft_limit(), 90u);
  allow_open_files(30, "it");
  EXPECT_EQ(soft_limit(), 90u);
}

TEST_F(OpenFiles, StayBelowTheHardLimit) {
  if (before_.rlim_max == RLIM_INFINITY) GTEST_SKIP() << "there is no hard limit";
  try {
    allow_open_files(std::uint64_t{before_.rlim_max} + 1, "the chain");
    FAIL();
  } catch (const persistent_data::device_error& e) {
    EXPECT_THAT(e.what(), HasSubstr("the chain needs "));
    EXPECT_THAT(e.what(), HasSubstr("(ulimit -n)"));
  }
  EXPECT_EQ(soft_limit(), before_.rlim_cur);
}

}  // namespace
}  // namespace era
