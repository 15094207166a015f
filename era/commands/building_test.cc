// SPDX-License-Identifier: GPL-3.0-or-later
// The exit status and the messages of a build, and the state in which a failed one leaves the
// output.
#include "era/commands/building.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "era/testing/output_directory.h"
#include "persistent-data/format/errors.h"
#include "persistent-data/testing/file_size_limit.h"

namespace era {
namespace {

namespace fs = std::filesystem;

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Building : public test::output_directory {
 protected:
  int build(const std::function<void(metadata_builder&)>& work) {
    const command_line line("era_test", "Tests.", "");
    progress shown("era_test", std::nullopt, {});
    ::testing::internal::CaptureStderr();
    const int status = build_metadata(
        line, path("out"), shown, [] {}, work);
    said_ = ::testing::internal::GetCapturedStderr();
    return status;
  }
  void make_output() { std::ofstream(path("out")) << std::string(1 << 20, 'x'); }
  static void begin(metadata_builder& to) { to.begin_superblock({128, 0, {1}, {}}); }
  std::string said_;
};

TEST_F(Building, OfMetadataSaysNothing) {
  make_output();
  const int status = build([](metadata_builder& to) {
    begin(to);
    to.begin_era_array();
    to.end_era_array();
    to.end_superblock();
    to.commit();
  });
  EXPECT_EQ(status, exit_success) << said_;
  EXPECT_EQ(said_, "");
  EXPECT_NE(content(path("out")), std::string(1 << 20, 'x'));
}

TEST_F(Building, ThatFailsAtOnceChangesNothing) {
  make_output();
  EXPECT_EQ(build([](metadata_builder&) { throw pd::invalid_input("m.xml: is no XML"); }),
            exit_failure);
  EXPECT_EQ(said_, "era_test: m.xml: is no XML\n");
  EXPECT_EQ(content(path("out")), std::string(1 << 20, 'x'));
}

TEST_F(Building, ThatFailsLaterSaysThatTheOutputIsWiped) {
  make_output();
  EXPECT_EQ(build([](metadata_builder& to) {
              begin(to);
              throw pd::invalid_input("m.xml:2: is no XML");
            }),
            exit_failure);
  EXPECT_THAT(said_, StartsWith("era_test: m.xml:2: is no XML\nera_test: " + path("out") +
                                ": is wiped and holds no metadata"));
}

// A second message follows only if the failed write has changed the superblock.
TEST_F(Building, ThatCannotWipeItsOutputSaysSoIfTheSuperblockIsChanged) {
  const auto build_with_room_for = [&](std::uint64_t bytes) {
    make_output();
    EXPECT_EQ(build([&](metadata_builder& to) {
                const pd::test::file_size_limit limit(bytes);
                begin(to);
              }),
              exit_failure);
    EXPECT_EQ(content(path("out")), std::string(bytes, '\0') + std::string((1 << 20) - bytes, 'x'));
    EXPECT_THAT(said_, StartsWith("era_test: " + path("out") + ": "));
    return said_;
  };
  EXPECT_THAT(build_with_room_for(0), Not(HasSubstr("superblock")));
  EXPECT_THAT(build_with_room_for(512),
              EndsWith("era_test: " + path("out") +
                       ": its superblock could not be wiped, and may be damaged now; nothing else "
                       "of it was changed\n"));
}

TEST_F(Building, ThatCannotOpenItsOutputNamesIt) {
  fs::create_directory(path("out"));
  EXPECT_EQ(build(begin), exit_failure);
  EXPECT_THAT(said_, StartsWith("era_test: "));
  EXPECT_THAT(said_, HasSubstr(path("out")));
}

}  // namespace
}  // namespace era
