// SPDX-License-Identifier: GPL-3.0-or-later
// Each thing in which a state, a target, a source and metadata may contradict each other.
// functional-tests/backup.bats has whole nights.
#include "era/commands/backup_chain.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "era/backup/growth_mark.h"
#include "era/backup/lasting_path.h"
#include "era/check/sound_metadata.h"
#include "era/commands/state_file.h"
#include "era/testing/error_of.h"
#include "era/testing/image_builder.h"
#include "persistent-data/io/unique_fd.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

using test::error_of;
using ::testing::HasSubstr;

constexpr std::uint32_t nr_blocks = 100;
constexpr std::uint64_t block_bytes = 65536;

// The metadata of a device, and its data.
struct night {
  explicit night(const std::string& path, std::uint32_t current, std::uint32_t era_of_block_7 = 3,
                 std::uint32_t sectors = 128)
      : built({.nr_blocks = nr_blocks,
               .current_era = current,
               .data_block_size = sectors,
               .era_of = [=](std::uint64_t b) { return b == 7 ? era_of_block_7 : 2u; },
               .archived = {},
               .current = {}}),
        device(built.path(), pd::access::reading),
        opened(*map_sound_metadata(device, source::live, ignore_findings)),
        source(path, pd::access::reading) {}

  test::built_metadata built;
  pd::block_device device;
  metadata opened;
  data_device source;
};

class BackupChain : public ::testing::Test {
 protected:
  // The state after a backup in era 4.
  BackupChain() {
    chosen_.source = directory_.random_file("source", nr_blocks * block_bytes, 1);
    chosen_.target = directory_.file("target", "");
    chosen_.state = directory_ / "state";
    state_.source = chosen_.source;
    state_.source_bytes = nr_blocks * block_bytes;
    state_.block_size = 128;
    state_.nr_blocks = nr_blocks;
    state_.current_era = 4;
    state_.next_era = 5;
    state_.witnesses = {{1, 2}, {7, 3}};
    state_.target = lasting_path(chosen_.target);
    state_.format = "raw";
    write_state(chosen_.state, state_);
  }

  std::string refusal_of(const night& n) const {
    const backup_chain chain(chosen_);
    return error_of([&] { chain.require_metadata(n.opened, n.device, n.source); });
  }
  std::string refusal_of_target() const {
    const backup_chain chain(chosen_);
    return error_of([&] { chain.require_target(); });
  }

  const pd::test::scratch_directory directory_;
  backup_options chosen_{};
  backup_state state_{};
};

TEST_F(BackupChain, ContinuesTheLastBackup) {
  const backup_chain chain(chosen_);
  ASSERT_TRUE(chain.base());
  EXPECT_EQ(chain.since(), 5u);
  EXPECT_EQ(chain.target(), state_.target);
  EXPECT_EQ(refusal_of_target(), "");
  EXPECT_EQ(refusal_of(night(chosen_.source, 5)), "");
}

TEST_F(BackupChain, BeginsAnewWithoutACompleteState) {
  chosen_.full = true;
  EXPECT_FALSE(backup_chain(chosen_).has_state());
  chosen_.full = false;
  state_.next_era = backup_state::incomplete;
  state_.witnesses.clear();
  write_state(chosen_.state, state_);
  const backup_chain unfinished(chosen_);
  EXPECT_TRUE(unfinished.has_state());
  EXPECT_FALSE(unfinished.base());
  EXPECT_EQ(unfinished.since(), 0u);
  EXPECT_FALSE(unfinished.backing());
  chosen_.state.clear();
  chosen_.written_since = 9;
  EXPECT_EQ(backup_chain(chosen_).since(), 9u);
}

TEST_F(BackupChain, NeedsTheSameTarget) {
  chosen_.target = directory_.file("other", "");
  EXPECT_THAT(refusal_of_target(), HasSubstr("changed blocks alone make no backup of"));
  chosen_.target += ".qcow2";  // a new image that continues the last backup
  EXPECT_EQ(refusal_of_target(), "");
  state_.format = "qcow2";
  write_state(chosen_.state, state_);
  chosen_.target = state_.target;
  EXPECT_THAT(refusal_of_target(), HasSubstr("is a qcow2 image, and would be overwritten"));
}

TEST_F(BackupChain, NeedsATargetOfTheSameKind) {
  state_.target_is_device = true;
  write_state(chosen_.state, state_);
  EXPECT_THAT(refusal_of_target(), HasSubstr("was a block device, and is none now"));
}

TEST_F(BackupChain, OverwritesNoImageOfAnotherFormat) {
  const auto filled = [](char with) {
    std::string text(65536, with);
    return text.replace(0, 4, "QFI\xfb");
  };
  directory_.file("target", filled('1'));
  chosen_.full = true;
  EXPECT_THAT(refusal_of_target(), HasSubstr("target: begins like a qcow2 image"));
  // A guest's image in the source is another one.
  directory_.file("source", filled('2'));
  EXPECT_THAT(refusal_of_target(), HasSubstr("target: begins like a qcow2 image"));
  directory_.file("source", filled('1'));
  EXPECT_EQ(refusal_of_target(), "");
}

// It was plain when the state was made, and has its length.
TEST_F(BackupChain, OverwritesAPlainImageThatTheStateKnows) {
  const std::string header = "QFI\xfb";
  directory_.file("target", header);
  EXPECT_THAT(refusal_of_target(), HasSubstr("target: begins like a qcow2 image"));
  std::filesystem::resize_file(chosen_.target, state_.source_bytes);
  EXPECT_EQ(refusal_of_target(), "");
  // The source has grown, and what copied its new end was ended.
  {
    const pd::unique_fd fd(::open(chosen_.target.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(put_growth_mark(fd.get(), {state_.source_bytes + 4096, state_.source_bytes, true},
                              pd::system_calls::real()),
              0);
  }
  EXPECT_EQ(refusal_of_target(), "");
  EXPECT_EQ(backup_chain(chosen_).backing()->format, image_format::raw);
  std::filesystem::resize_file(chosen_.target, state_.source_bytes - 512);
  EXPECT_THAT(error_of([&] { backup_chain(chosen_).backing(); }),
              HasSubstr("target: begins like a qcow2 image, and was a plain one"));
}

TEST_F(BackupChain, DoesNotContinueAnImageWithItself) {
  state_.format = "qcow2";
  write_state(chosen_.state, state_);
  chosen_.chosen_format = image_format::qcow2;
  EXPECT_THAT(refusal_of_target(), HasSubstr("target: is the last backup, which"));
  std::filesystem::remove(chosen_.target);  // or has another name by now
  EXPECT_EQ(refusal_of_target(), "");
}

TEST_F(BackupChain, NeedsTheOriginOfTheMetadata) {
  const std::string shorter = directory_.random_file("shorter", 99 * block_bytes, 1);
  EXPECT_THAT(refusal_of(night(shorter, 5)),
              HasSubstr("shorter: has 99 blocks of 128 sectors, and the metadata in"));
  EXPECT_THAT(refusal_of(night(chosen_.source, 5, 3, 256)), HasSubstr("has 50 blocks of 256"));
}

TEST_F(BackupChain, NeedsTheHistoryThatTheStateKnows) {
  EXPECT_EQ(refusal_of(night(chosen_.source, 6, 6)), "");
  EXPECT_THAT(refusal_of(night(chosen_.source, 6, 4)),
              HasSubstr("block 7 was last written in era 3, and now in era 4, which had ended"));
  state_.source_bytes += block_bytes;
  state_.nr_blocks += 1;
  write_state(chosen_.state, state_);
  EXPECT_THAT(refusal_of(night(chosen_.source, 6)), HasSubstr("the device had 6619136 bytes"));
  state_.block_size = 256;
  state_.nr_blocks = 51;
  write_state(chosen_.state, state_);
  EXPECT_THAT(refusal_of(night(chosen_.source, 6)), HasSubstr("it is about blocks of 256 sectors"));
}

TEST_F(BackupChain, NeedsALaterEra) {
  const backup_chain chain(chosen_);
  const night n(chosen_.source, 4);
  EXPECT_EQ(error_of([&] { chain.require_later_era({4}, n.device); }), "");
  EXPECT_THAT(error_of([&] { chain.require_later_era({3}, n.device); }),
              HasSubstr("the current era was 4, and is 3; if they belong together"));
}

TEST_F(BackupChain, AsksNextTimeForTheFirstEraThatItMayLack) {
  const night n(chosen_.source, 6);
  EXPECT_EQ(backup_chain(chosen_).next_era(n.opened, n.device), 7u);
  const auto refusal = [&] {
    return error_of([&] { backup_chain(chosen_).next_era(n.opened, n.device); });
  };
  chosen_.next_era = 4;
  EXPECT_THAT(refusal(), HasSubstr("--next-era 4 is before era 5"));
  for (const std::uint32_t good : {5u, 6u, 7u}) {
    chosen_.next_era = good;
    EXPECT_EQ(backup_chain(chosen_).next_era(n.opened, n.device), good);
  }
  chosen_.next_era = 8;
  EXPECT_THAT(refusal(), HasSubstr("era 8 had not begun when this metadata was written, in era 6"));
  chosen_.from = source::snapshot;  // its era goes on in the live metadata
  chosen_.next_era = 7;
  EXPECT_THAT(refusal(), HasSubstr("take the metadata snapshot after it"));
  chosen_.next_era.reset();
  EXPECT_FALSE(backup_chain(chosen_).next_era(n.opened, n.device));
}

TEST_F(BackupChain, NamesTheImageBelow) {
  EXPECT_EQ(backup_chain(chosen_).backing()->path, state_.target);
  EXPECT_EQ(backup_chain(chosen_).backing()->format, image_format::raw);
  chosen_.backing = "last.qcow2";
  EXPECT_EQ(backup_chain(chosen_).backing()->path, "last.qcow2");
  EXPECT_EQ(backup_chain(chosen_).backing()->format, image_format::qcow2);
  chosen_.backing_format = image_format::raw;
  EXPECT_EQ(backup_chain(chosen_).backing()->format, image_format::raw);
  chosen_.backing = directory_.file("unnamed", "QFI\xfb");
  EXPECT_EQ(backup_chain(chosen_).backing()->format, image_format::raw);
  chosen_.backing_format.reset();
  EXPECT_THAT(error_of([&] { backup_chain(chosen_).backing(); }),
              HasSubstr("unnamed: begins like a qcow2 image; say which it is"));
  chosen_.backing.clear();
  state_.target = "nbd://host/export";
  write_state(chosen_.state, state_);
  EXPECT_THAT(error_of([&] { backup_chain(chosen_).backing(); }),
              HasSubstr("the last backup is behind an NBD server"));
}

TEST_F(BackupChain, IsGivenUpOnlyForItsOwnTarget) {
  chosen_.full = true;
  backup_state next = state_;
  next.next_era = 9;
  next.target = "/elsewhere";
  backup_chain(chosen_).give_up(next);
  EXPECT_TRUE(read_state(chosen_.state)->is_complete());
  // By another name.
  std::filesystem::create_hard_link(chosen_.target, directory_ / "alias");
  next.target = directory_ / "alias";
  backup_chain(chosen_).give_up(next);
  EXPECT_FALSE(read_state(chosen_.state)->is_complete());
  // Its disk has been removed.
  state_.target = directory_ / "removed/target";
  write_state(chosen_.state, state_);
  backup_chain(chosen_).give_up(next);
  EXPECT_TRUE(read_state(chosen_.state)->is_complete());
  // An export may have several addresses.
  state_.target = "nbd://host/export";
  write_state(chosen_.state, state_);
  backup_chain(chosen_).give_up(next);
  EXPECT_TRUE(read_state(chosen_.state)->is_complete());
  next.target = "nbd://host:10809/export";
  backup_chain(chosen_).give_up(next);
  EXPECT_FALSE(read_state(chosen_.state)->is_complete());
  directory_.file("state", "damaged");
  backup_chain(chosen_).give_up(next);
  EXPECT_EQ(pd::test::content_of(chosen_.state), "damaged");
}

}  // namespace
}  // namespace era
