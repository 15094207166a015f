// SPDX-License-Identifier: GPL-3.0-or-later
// Two places of a backup that are one: by name, by link, and before the file is there.
#include "era/commands/backup_places.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "era/testing/error_of.h"
#include "era/testing/image_builder.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class BackupPlaces : public ::testing::Test {
 protected:
  BackupPlaces() {
    chosen_.metadata = metadata_.path();
    chosen_.source = source_;
    chosen_.target = directory_ / "target";
    chosen_.state = directory_ / "state";
  }
  std::string refusal() {
    const data_device source(source_, pd::access::reading);
    const pd::block_device device(chosen_.metadata, pd::access::reading);
    return test::error_of([&] { require_separate_places(chosen_, source, device); });
  }
  std::string link_to(const std::string& path) {
    fs::create_symlink(path, directory_ / "link");
    return directory_ / "link";
  }

  const pd::test::scratch_directory directory_;
  const test::built_metadata metadata_{{.nr_blocks = 10,
                                        .current_era = 1,
                                        .era_of = [](std::uint64_t) { return 1u; },
                                        .archived = {},
                                        .current = {}}};
  const std::string source_ = directory_.random_file("source", 655360, 1);
  backup_options chosen_{};
};

TEST_F(BackupPlaces, MayBeAllDifferent) {
  EXPECT_EQ(refusal(), "");
  chosen_.backing = directory_.file("backing", "b");
  EXPECT_EQ(refusal(), "");
  chosen_.state.clear();
  EXPECT_EQ(refusal(), "");
}

TEST_F(BackupPlaces, OfTheTargetAreItsOwn) {
  chosen_.target = source_;
  EXPECT_THAT(refusal(), HasSubstr("source: is the source itself, or lies on it"));
  chosen_.target = link_to(source_);
  EXPECT_THAT(refusal(), HasSubstr("link: is the source itself, or lies on it"));
  chosen_.target = chosen_.metadata;
  EXPECT_THAT(refusal(), HasSubstr(": is the metadata, or lies on it; name another target"));
}

TEST_F(BackupPlaces, OfSourceAndMetadataDiffer) {
  chosen_.metadata = link_to(source_);
  EXPECT_THAT(refusal(), HasSubstr("source: is both the source and the metadata"));
}

TEST_F(BackupPlaces, OfTheBackingFileDoNotChange) {
  chosen_.backing = source_;
  EXPECT_THAT(refusal(), HasSubstr("is the source itself, or lies on it, and changes with it"));
  chosen_.backing = chosen_.metadata;
  EXPECT_THAT(refusal(), HasSubstr("is the metadata; name the last backup"));
}

TEST_F(BackupPlaces, OfTheStateAreItsOwnEvenBeforeItIsThere) {
  chosen_.state = chosen_.target;
  EXPECT_THAT(refusal(), HasSubstr("target: is the target, and cannot be the state, too"));
  chosen_.state = (fs::path(source_).parent_path() / "." / "target").string();
  EXPECT_THAT(refusal(), HasSubstr("is the target, and cannot be the state, too"));
  chosen_.state = link_to(source_);
  EXPECT_THAT(refusal(), HasSubstr("link: is the source, and cannot be the state, too"));
  chosen_.state = chosen_.metadata;
  EXPECT_THAT(refusal(), HasSubstr("is the metadata, and cannot be the state, too"));
}

TEST_F(BackupPlaces, OfAFarImageAreNoFiles) {
  const data_device source(source_, pd::access::reading);
  const pd::block_device device(chosen_.metadata, pd::access::reading);
  const auto refusal_of = [&](const std::string& file) {
    return test::error_of([&] { require_separate_backing(file, chosen_, source, device); });
  };
  EXPECT_EQ(refusal_of("nbd+unix://?socket=/nowhere/socket"), "");
  EXPECT_EQ(refusal_of("json:{\"driver\":\"nbd\"}"), "");
  EXPECT_THAT(refusal_of(source_), HasSubstr("is the source itself"));
  EXPECT_THAT(refusal_of(directory_.file("state", "x")), HasSubstr("cannot be the state, too"));
}

TEST_F(BackupPlaces, BehindAnNbdServerAreNoFiles) {
  chosen_.target = "nbd+unix:///?socket=" + source_;
  EXPECT_EQ(refusal(), "");
}

}  // namespace
}  // namespace era
