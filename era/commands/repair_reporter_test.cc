// SPDX-License-Identifier: GPL-3.0-or-later
// The report of a repair: findings, assumptions and the summary, in that order.
#include "era/commands/repair_reporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "era/testing/image_builder.h"
#include "era/testing/kernel_image.h"
#include "era/testing/repaired.h"

namespace era {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

struct report {
  std::string text;
  bool anything = false;
};

report report_of(const std::string& path, bool quiet = false) {
  const command_line line("era_test", "Tests.", "");
  const pd::block_device device(path, pd::access::shared);
  ::testing::internal::CaptureStderr();
  report result;
  {
    repair_reporter reporter(line, device, quiet);
    const metadata saved = reporter.salvage({}, [] {});
    reporter.sum_up(saved, std::nullopt);
    result.anything = reporter.anything();
  }
  result.text = ::testing::internal::GetCapturedStderr();
  return result;
}

TEST(RepairReporter, SaysThatNothingIsWrong) {
  const test::built_metadata built(test::small_metadata());
  const report r = report_of(built.path());
  EXPECT_THAT(r.text, EndsWith(": nothing is wrong, and nothing had to be assumed\n"));
  EXPECT_FALSE(r.anything);
}

TEST(RepairReporter, SaysWhatIsLostAndHowMuchIsAssumed) {
  test::built_metadata built(test::small_metadata());
  test::lose(built, test::leaf_value(built, built.read_superblock().era_array_root, 1));
  const report r = report_of(built.path());
  EXPECT_THAT(r.text,
              AllOf(HasSubstr("when origin blocks 1018 to 2035 were last written is unknown"),
                    EndsWith(": 1018 of 3000 origin blocks are marked as written only "
                             "because it is unknown when they were\n")));
  EXPECT_TRUE(r.anything);
  EXPECT_EQ(report_of(built.path(), true).text, "");
}

// The snapshot is sound: a copy lacks it, and a list does not need it.
TEST(RepairReporter, ASnapshotIsOnlyLeftOutOfACopy) {
  const test::memory_image image("snap-live");
  const report r = report_of(image.path());
  EXPECT_FALSE(r.anything);
  EXPECT_THAT(r.text, AllOf(HasSubstr(": assumed: the metadata snapshot is left out\n"),
                            Not(HasSubstr("nothing is wrong")),
                            EndsWith(": the era of every origin block is known\n")));
}

}  // namespace
}  // namespace era
