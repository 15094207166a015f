// SPDX-License-Identifier: GPL-3.0-or-later
// The flag --metadata-snapshot, alone and with a word, and the access that follows from it.
#include "era/commands/metadata_source.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "era/testing/error_of.h"

namespace era {
namespace {

source parse(std::vector<std::string> words, bool may_have_word) {
  source from = source::live;
  option_list options;
  const auto id = add_metadata_snapshot(options, from, "Read the snapshot");
  if (may_have_word) options.may_have_word(id);
  words.insert(words.begin(), "name");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  options.parse(static_cast<int>(words.size()), argv.data());
  return from;
}

TEST(MetadataSource, IsTheSnapshotIfTheFlagIsGiven) {
  for (const bool may_have_word : {false, true}) {
    EXPECT_EQ(parse({}, may_have_word), source::live);
    EXPECT_EQ(parse({"--metadata-snapshot"}, may_have_word), source::snapshot);
  }
}

TEST(MetadataSource, AWordCanBeTheValue) {
  EXPECT_EQ(parse({"--metadata-snapshot", "true"}, true), source::snapshot);
  EXPECT_EQ(parse({"--metadata-snapshot", "false"}, true), source::live);
  EXPECT_EQ(parse({"--metadata-snapshot=false"}, true), source::live);
  EXPECT_EQ(test::error_of([] { parse({"--metadata-snapshot=no"}, true); }),
            "--metadata-snapshot: 'no' is none of true, false");
  EXPECT_EQ(test::error_of([] { parse({"--metadata-snapshot=true"}, false); }),
            "--metadata-snapshot takes no value");
}

TEST(MetadataSource, IsShownAsAFlag) {
  source from = source::live;
  option_list options;
  add_metadata_snapshot(options, from, "Read the snapshot");
  EXPECT_EQ(options.help(), "  --metadata-snapshot           Read the snapshot\n");
}

TEST(MetadataSource, OnlyASnapshotIsShared) {
  EXPECT_EQ(access_to(source::live), pd::access::reading);
  EXPECT_EQ(access_to(source::snapshot), pd::access::shared);
}

}  // namespace
}  // namespace era
