// SPDX-License-Identifier: GPL-3.0-or-later
// Metadata of the largest size, in a sparse file, whose writeset tree is as large as it can be:
// none of four million eras was digested, and the bitset of each, which has a block of its own, is
// lost. Every command that reads metadata keeps within 320 MiB. Restore and repair would write 17
// GB here: many_writesets_test.cc measures how much memory each writeset takes them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "era/format/superblock.h"
#include "era/format/writeset.h"
#include "persistent-data/testing/sanitized.h"
#include "persistent-data/testing/scratch_device.h"

namespace era::test {
namespace {

constexpr long most_kibibytes = 327'680;  // 320 MiB

// For the tree, the era array and the space map.
constexpr std::uint32_t nr_writesets = pd::max_metadata_blocks - 60'000, nr_blocks = 10;

void write_metadata(pd::test::scratch_device& device) {
  pd::test::layout on(device);
  pd::block b{};
  auto& sb = b.as<superblock>();
  sb.magic = superblock_magic;
  sb.version = superblock_version;
  sb.data_block_size = 128;
  sb.metadata_block_size = sectors_per_metadata_block;
  sb.nr_blocks = nr_blocks;
  sb.current_era = nr_writesets + 10;

  std::vector<std::pair<std::uint64_t, writeset_value>> writesets;
  writesets.reserve(nr_writesets);
  for (std::uint32_t era = 1; era <= nr_writesets; ++era)
    writesets.push_back({era, {nr_blocks, on.take().value}});
  sb.writeset_tree_root = on.btree(writesets).root.value;
  sb.era_array_root = on.array(std::vector<pd::le32>(nr_blocks, 1)).root().value;
  sb.space_map = on.space_map().root;
  pd::prepare_for_write(superblock_kind, b, superblock_location);
  device[superblock_location] = b;
}

struct outcome {
  int status = -1;
  long kibibytes = 0;  // the peak of its memory
  std::string said;    // the beginning of what it wrote to stdout and stderr
};

outcome run(std::vector<std::string> words) {
  const char* bin = std::getenv("ERA_BIN");
  words.front() = std::string(bin ? bin : "bin") + "/era_" + words.front();
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  std::array<int, 2> pipe{};
  EXPECT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO})
    posix_spawn_file_actions_adddup2(&actions, pipe[1], fd);
  pid_t child = 0;
  EXPECT_EQ(::posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ), 0) << argv[0];
  posix_spawn_file_actions_destroy(&actions);
  ::close(pipe[1]);

  outcome result;
  std::array<char, 1 << 16> piece{};
  for (ssize_t n; (n = ::read(pipe[0], piece.data(), piece.size())) > 0;)
    if (result.said.size() < 4096) result.said.append(piece.data(), static_cast<std::size_t>(n));
  ::close(pipe[0]);
  int status = 0;
  rusage used{};
  EXPECT_EQ(::wait4(child, &status, 0, &used), child);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  result.kibibytes = used.ru_maxrss;
  return result;
}

class LargestMetadata : public ::testing::Test {
 protected:
  void SetUp() override {
    if (is_sanitized) GTEST_SKIP() << "a sanitizer takes memory of its own";
    // In a process of its own: the peak of a command would not be below this one's.
    const pid_t child = ::fork();
    if (child == 0) {
      write_metadata(device_);
      ::_exit(0);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
  }

  outcome run_within_bounds(const std::vector<std::string>& words) {
    outcome result = run(words);
    std::string line;
    for (const std::string& word : words) line += word + ' ';
    std::printf("%s: status %d, %ld KiB\n", line.c_str(), result.status, result.kibibytes);
    EXPECT_LE(result.kibibytes, most_kibibytes) << line;
    return result;
  }

  pd::test::scratch_device device_{pd::max_metadata_blocks};
  // By which other processes open it.
  const std::string path_ =
      "/proc/" + std::to_string(::getpid()) + device_.path().substr(std::strlen("/proc/self"));
};

TEST_F(LargestMetadata, IsCheckedWithinBounds) {
  EXPECT_EQ(run_within_bounds({"check", path_}).status, 1);
}

// Without --repair both take less, and as much time.
TEST_F(LargestMetadata, IsSalvagedWithinBounds) {
  EXPECT_EQ(run_within_bounds({"dump", "--repair", "--compact", path_}).status, 0);
  EXPECT_EQ(run_within_bounds({"invalidate", "--repair", "--written-since", "1", path_}).status, 0);
}

TEST_F(LargestMetadata, IsOpenedByTheTargetWithinBounds) {
  EXPECT_EQ(run_within_bounds({"sim", "--metadata", path_, "--script", "/dev/null"}).status, 0);
}

}  // namespace
}  // namespace era::test
