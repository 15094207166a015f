// SPDX-License-Identifier: GPL-3.0-or-later
// A state is read as it was written, and anything else is refused.
#include "era/backup/backup_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "era/backup/backup_summary.h"
#include "persistent-data/format/errors.h"

namespace era {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

backup_state a_state() {
  backup_state s;
  s.source = "/dev/vg/\"snap\"";
  s.source_bytes = 1000 * 65536 + 512;
  s.block_size = 128;
  s.nr_blocks = 1001;
  s.current_era = 41;
  s.next_era = 42;
  s.witnesses = {{0, 7}, {5, 0}, {1000, 41}};
  s.unread = {{3, 4}, {900, 1001}};
  s.target = "/backup/\xc3\xa4.img";
  s.target_is_device = true;
  s.format = "raw";
  return s;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string error_of(const std::string& text) {
  try {
    backup_state_of_json(text);
    return "";
  } catch (const pd::invalid_input& e) {
    return e.what();
  }
}

TEST(BackupState, ComesBack) {
  const backup_state before = a_state();
  const backup_state s = backup_state_of_json(to_json(before));
  EXPECT_EQ(s.source, before.source);
  EXPECT_EQ(s.source_bytes, before.source_bytes);
  EXPECT_EQ(s.block_size, before.block_size);
  EXPECT_EQ(s.nr_blocks, before.nr_blocks);
  EXPECT_EQ(s.current_era, before.current_era);
  EXPECT_EQ(s.next_era, before.next_era);
  EXPECT_EQ(s.witnesses, before.witnesses);
  EXPECT_EQ(s.unread, before.unread);
  EXPECT_EQ(s.target, before.target);
  EXPECT_EQ(s.target_is_device, before.target_is_device);
  EXPECT_EQ(s.format, before.format);
}

TEST(BackupState, MayHaveTheLargestNumbers) {
  backup_state s = a_state();
  s.nr_blocks = max_origin_blocks;
  s.block_size = 8;
  s.source_bytes = std::uint64_t{s.nr_blocks} * 4096;
  s.current_era = s.next_era = 0xffffffff;
  s.witnesses = {{max_origin_blocks - 1, 0xffffffff}};
  EXPECT_EQ(backup_state_of_json(to_json(s)).witnesses, s.witnesses);
}

TEST(BackupState, IsRefusedIfItIsCut) {
  const std::string whole = to_json(a_state());
  for (std::size_t length = 0; length + 1 < whole.size(); ++length)
    ASSERT_THAT(error_of(whole.substr(0, length)), EndsWith("or begin again with --full"))
        << length;
}

TEST(BackupState, IsRefusedIfAnythingIsWrong) {
  const std::string good = to_json(a_state());
  ASSERT_EQ(error_of(good), "");
  const auto wrong = [&](const std::string& from, const std::string& to) {
    return error_of(replaced(good, from, to));
  };
  EXPECT_THAT(error_of("[]"), HasSubstr("is no state"));
  EXPECT_THAT(error_of("{\"a\":\n1,\n}"), HasSubstr("line 3"));
  EXPECT_THAT(wrong("\"era_backup_state\":1", "\"era_backup_state\":2"), HasSubstr("version 2"));
  EXPECT_THAT(wrong("\"next_era\":42", "\"next_era\":\"42\""), HasSubstr("Expected integer"));
  EXPECT_THAT(wrong("\"next_era\":42,", ""), HasSubstr("next_era"));
  EXPECT_THAT(wrong("\"next_era\":42", "\"next_era\":42,\"more\":1"), HasSubstr("more"));
  EXPECT_THAT(wrong("\"next_era\":42", "\"next_era\":42,\"next_era\":1"), HasSubstr("duplicate"));
  EXPECT_THAT(wrong("\"next_era\":42", "\"next_era\":43"), HasSubstr("after the era that follows"));
  EXPECT_THAT(wrong("\"next_era\":42", "\"next_era\":-1"), HasSubstr("next_era is -1"));
  EXPECT_THAT(wrong("\"current_era\":41", "\"current_era\":4294967296"), HasSubstr("4294967296"));
  EXPECT_THAT(wrong("\"block_size\":128", "\"block_size\":0"), HasSubstr("block_size is 0"));
  EXPECT_THAT(wrong("\"nr_blocks\":1001", "\"nr_blocks\":1000"), HasSubstr("source_bytes"));
  EXPECT_THAT(wrong("\"source_bytes\":65536512", "\"source_bytes\":0"), HasSubstr("source_bytes"));
  EXPECT_THAT(wrong("[5,0]", "[0,0]"), HasSubstr("witnesses"));
  EXPECT_THAT(wrong("[1000,41]", "[1001,41]"), HasSubstr("block 1001"));
  EXPECT_THAT(wrong("[5,0]", "[5]"), HasSubstr("entry 2 of witnesses"));
  EXPECT_THAT(wrong("[5,0]", "[5,4294967296]"), HasSubstr("entry 2 of witnesses"));
  EXPECT_THAT(wrong("[3,4]", "[4,4]"), HasSubstr("unread"));
  EXPECT_THAT(wrong("[900,1001]", "[900,1002]"), HasSubstr("unread"));
  EXPECT_THAT(wrong("[900,1001]", "[3,1001]"), HasSubstr("unread"));
  EXPECT_THAT(wrong("\"raw\"", "\"tar\""), HasSubstr("format is 'tar'"));
}

TEST(BackupState, NamesWhatJsonCannotHold) {
  backup_state s = a_state();
  s.target = "/backup/\xff";
  EXPECT_THROW(to_json(s), pd::invalid_input);
}

TEST(BackupSummary, SaysWhatWasCopied) {
  const backup_state s = a_state();
  const copy_report copied{3, 196608, 65536, {{3, 4}}};
  EXPECT_EQ(
      to_json(backup_summary{
          .state = s, .written_since = 40, .copied = copied, .in_doubt = 2, .verified = true}),
      "{\"source\":\"/dev/vg/\\\"snap\\\"\",\"target\":\"/backup/\xc3\xa4.img\",\"format\":"
      "\"raw\",\"block_size\":128,\"nr_blocks\":1001,\"written_since\":40,\"current_era\":41,"
      "\"next_era\":42,\"blocks\":3,\"bytes\":196608,\"zero_bytes\":65536,\"in_doubt\":2,"
      "\"unread\":[[3,4]],\"verified\":true}\n");
  EXPECT_THAT(to_json(backup_summary{.state = s, .next_era_is_known = false, .copied = copied}),
              HasSubstr("\"next_era\":null"));
}

}  // namespace
}  // namespace era
