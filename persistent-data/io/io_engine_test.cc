// SPDX-License-Identifier: GPL-3.0-or-later
// Both engines against the same expectations, on a real file.
#include "persistent-data/io/io_engine.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>

#include "persistent-data/format/block.h"

namespace persistent_data {
namespace {

constexpr std::uint64_t file_blocks = 100;
constexpr std::size_t ragged_end = 1000;  // bytes behind the last whole block

struct engine_kind {
  const char* name;
  std::unique_ptr<io_engine> (*make)(int fd);
};
void PrintTo(const engine_kind& kind, std::ostream* out) { *out << kind.name; }

class IoEngine : public testing::TestWithParam<engine_kind> {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "io_engine.XXXXXX").string();
    fd = ::mkstemp(name.data());
    ASSERT_GE(fd, 0);
    ::unlink(name.c_str());
    for (std::uint64_t b = 0; b <= file_blocks; ++b) {
      block filled;
      filled.bytes.fill(static_cast<std::byte>(b));
      const std::size_t bytes = b < file_blocks ? block_size : ragged_end;
      ASSERT_EQ(::write(fd, filled.bytes.data(), bytes), static_cast<ssize_t>(bytes));
    }
    engine = GetParam().make(fd);
    if (!engine) GTEST_SKIP() << "the system refuses an aio context";
  }
  void TearDown() override {
    engine.reset();
    ::close(fd);
  }

  // Buffers of 32 blocks, filled with what is in no block of the file.
  block* fresh_buffer() {
    buffers.push_back(std::make_unique<block[]>(32));
    for (std::size_t i = 0; i < 32; ++i) buffers.back()[i].bytes.fill(std::byte{0xee});
    return buffers.back().get();
  }

  // The result of one read of blocks from first.
  std::int64_t read(block* to, std::uint64_t first, std::size_t blocks) {
    engine->submit({to->bytes.data(), blocks * block_size, first * block_size, 77});
    const io_completion done = engine->wait();
    EXPECT_EQ(done.tag, 77u);
    return done.result;
  }

  static bool holds(const block& b, std::uint64_t number) {
    return std::all_of(b.bytes.begin(), b.bytes.end(),
                       [&](std::byte x) { return x == static_cast<std::byte>(number); });
  }

  int fd = -1;
  std::vector<std::unique_ptr<block[]>> buffers;
  std::unique_ptr<io_engine> engine;
};

INSTANTIATE_TEST_SUITE_P(Engines, IoEngine,
                         testing::Values(engine_kind{"sync", make_sync_engine},
                                         engine_kind{"aio", make_aio_engine}),
                         [](const auto& p) { return p.param.name; });

TEST_P(IoEngine, ReadsAnyBlock) {
  for (std::uint64_t b = 0; b < file_blocks; ++b) {
    block* to = fresh_buffer();
    ASSERT_EQ(read(to, b, 1), std::int64_t{block_size}) << b;
    EXPECT_TRUE(holds(to[0], b));
    EXPECT_TRUE(holds(to[1], 0xee));
  }
}

TEST_P(IoEngine, ReadsManyBlocksAtOnce) {
  block* to = fresh_buffer();
  ASSERT_EQ(read(to, 50, 32), std::int64_t{32 * block_size});
  for (std::uint64_t i = 0; i < 32; ++i) EXPECT_TRUE(holds(to[i], 50 + i)) << i;
}

TEST_P(IoEngine, ReadsFewerAtTheEndOfTheFile) {
  EXPECT_EQ(read(fresh_buffer(), file_blocks - 3, 32),
            static_cast<std::int64_t>(3 * block_size + ragged_end));
  EXPECT_EQ(read(fresh_buffer(), file_blocks, 1), static_cast<std::int64_t>(ragged_end));
  EXPECT_EQ(read(fresh_buffer(), file_blocks + 1, 1), 0);
  EXPECT_EQ(read(fresh_buffer(), max_metadata_blocks, 1), 0);
}

TEST_P(IoEngine, AnErrorIsACompletion) {
  const auto broken = GetParam().make(-1);
  ASSERT_TRUE(broken);
  for (std::size_t tag = 0; tag < 3; ++tag) {
    broken->submit({fresh_buffer()->bytes.data(), block_size, 0, tag});
    const io_completion done = broken->wait();
    EXPECT_EQ(done.tag, tag);
    EXPECT_EQ(done.result, -EBADF);
  }
}

TEST_P(IoEngine, AsManyErrorsAsItIsDeep) {
  const auto broken = GetParam().make(-1);
  ASSERT_TRUE(broken);
  std::vector<bool> back(broken->depth());
  for (std::size_t tag = 0; tag < back.size(); ++tag)
    broken->submit({fresh_buffer()->bytes.data(), block_size, 0, tag});
  for (std::size_t i = 0; i < back.size(); ++i) {
    const io_completion done = broken->wait();
    EXPECT_EQ(done.result, -EBADF);
    EXPECT_FALSE(back.at(done.tag));
    back[done.tag] = true;
  }
}

// As many as the engine is deep, at random, again and again.
TEST_P(IoEngine, KeepsManyApart) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  ASSERT_GE(engine->depth(), 1u);
  for (std::size_t i = 0; i < engine->depth(); ++i) fresh_buffer();
  struct read {
    std::uint64_t first;
    std::size_t blocks;
  };
  std::map<std::size_t, read> under_way;
  const auto wait = [&] {
    const io_completion done = engine->wait();
    const auto found = under_way.find(done.tag);
    ASSERT_NE(found, under_way.end());
    const auto [first, blocks] = found->second;
    EXPECT_EQ(done.result, static_cast<std::int64_t>(blocks * block_size));
    for (std::size_t i = 0; i < blocks; ++i) EXPECT_TRUE(holds(buffers[done.tag][i], first + i));
    under_way.erase(found);
  };
  for (int round = 0; round < 500; ++round) {
    if (under_way.size() == engine->depth()) {
      ASSERT_NO_FATAL_FAILURE(wait());
    }
    std::size_t tag = 0;
    while (under_way.count(tag)) ++tag;
    const std::uint64_t first = random() % file_blocks;
    const std::size_t blocks = 1 + random() % std::min<std::uint64_t>(32, file_blocks - first);
    under_way[tag] = {first, blocks};
    engine->submit({buffers[tag][0].bytes.data(), blocks * block_size, first * block_size, tag});
  }
  while (!under_way.empty()) ASSERT_NO_FATAL_FAILURE(wait());
}

// The buffers are the caller's again as soon as the engine is gone.
TEST_P(IoEngine, EndsWithReadsUnderWay) {
  for (std::size_t i = 0; i < engine->depth(); ++i)
    engine->submit({fresh_buffer()->bytes.data(), 32 * block_size, 0, i});
  engine.reset();
  for (const auto& buffer : buffers) {
    buffer[0].bytes.fill(std::byte{1});
    EXPECT_TRUE(holds(buffer[0], 1));
  }
  buffers.clear();
}

TEST(SyncEngine, HasOneReadAtATime) { EXPECT_EQ(make_sync_engine(-1)->depth(), 1u); }

}  // namespace
}  // namespace persistent_data
