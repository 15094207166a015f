// SPDX-License-Identifier: GPL-3.0-or-later
// All engines against the same expectations, on a real file.
#include "persistent-data/io/io_engine.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <random>

#include "persistent-data/format/block.h"
#include "persistent-data/testing/engine_on_a_file.h"

namespace persistent_data {
namespace {

using test::failing_calls;
using test::file_blocks;
using test::ragged_end;
using test::read_ten;

struct engine_kind {
  const char* name;
  std::unique_ptr<io_engine> (*make_with)(int fd, system_calls&);

  std::unique_ptr<io_engine> make(int fd) const { return make_with(fd, system_calls::real()); }
};
void PrintTo(const engine_kind& kind, std::ostream* out) { *out << kind.name; }

class IoEngine : public test::engine_on_a_file, public testing::WithParamInterface<engine_kind> {
 protected:
  void SetUp() override {
    test::engine_on_a_file::SetUp();
    engine = GetParam().make(fd);
    if (!engine) GTEST_SKIP() << "the system does not grant such an engine";
  }
  void TearDown() override {
    engine.reset();
    test::engine_on_a_file::TearDown();
  }

  // The result of one read of blocks from first.
  std::int64_t read(block* to, std::uint64_t first, std::size_t blocks) {
    engine->submit({to->bytes.data(), blocks * block_size, first * block_size, 77});
    const io_completion done = engine->wait();
    EXPECT_EQ(done.tag, 77u);
    return done.result;
  }

  std::unique_ptr<io_engine> engine;
};

INSTANTIATE_TEST_SUITE_P(Engines, IoEngine,
                         testing::Values(engine_kind{"sync", make_sync_engine},
                                         engine_kind{"aio", make_aio_engine},
                                         engine_kind{"uring", make_uring_engine}),
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

// The k-th call is interrupted: the submission, or the wait.
TEST_P(IoEngine, GoesOnAfterASignal) {
  for (const int interruptions : {1, 2, 7}) {
    failing_calls calls;
    const auto fragile = GetParam().make_with(fd, calls);
    block* to = fresh_buffer();
    calls.interruptions = interruptions;
    fragile->submit({to->bytes.data(), block_size, 5 * block_size, 3});
    EXPECT_EQ(fragile->wait().result, std::int64_t{block_size});
    EXPECT_TRUE(holds(to[0], 5));
    to = fresh_buffer();
    fragile->submit({to->bytes.data(), block_size, 6 * block_size, 3});
    calls.interruptions = interruptions;
    EXPECT_EQ(fragile->wait().result, std::int64_t{block_size});
    EXPECT_TRUE(holds(to[0], 6));
    to[0].bytes.fill(std::byte{77});
    calls.interruptions = interruptions;
    fragile->submit({to->bytes.data(), block_size, 7 * block_size, 3, io_operation::write});
    EXPECT_EQ(fragile->wait().result, std::int64_t{block_size});
    EXPECT_EQ(calls.interruptions, 0);
    ASSERT_EQ(read(to, 7, 1), std::int64_t{block_size});
    EXPECT_TRUE(holds(to[0], 77));
  }
}

using QueuedEngine = IoEngine;
INSTANTIATE_TEST_SUITE_P(Engines, QueuedEngine,
                         testing::Values(engine_kind{"aio", make_aio_engine},
                                         engine_kind{"uring", make_uring_engine}),
                         [](const auto& p) { return p.param.name; });

// A system without room: the engine waits for what is under way, and does the rest by itself.
TEST_P(QueuedEngine, NeedsNoRoomInTheSystem) {
  for (const int refusals : {1, 2, 5, -1}) {
    SCOPED_TRACE(refusals);
    failing_calls calls;
    calls.refusals = refusals;
    const auto crowded = GetParam().make_with(fd, calls);
    block* to = fresh_buffer();
    read_ten(*crowded, to);
    for (std::size_t b = 0; b < 10; ++b) EXPECT_TRUE(holds(to[b], b)) << b;
    if (refusals == -1) {
      EXPECT_EQ(calls.singles, 10);
      EXPECT_EQ(calls.submits, 10);  // once each: nothing is under way
    }
  }
}

// Room runs out while others are under way.
TEST_P(QueuedEngine, WaitsForRoomInTheSystem) {
  failing_calls calls;
  const auto crowded = GetParam().make_with(fd, calls);
  block* to = fresh_buffer();
  crowded->submit({to[0].bytes.data(), block_size, 0, 0});
  crowded->submit({to[1].bytes.data(), block_size, block_size, 1});
  calls.refusals = 1;
  crowded->submit({to[2].bytes.data(), block_size, 2 * block_size, 2});
  EXPECT_EQ(calls.singles, 0);
  EXPECT_EQ(calls.submits, 4);
  std::vector<std::size_t> tags;
  for (int i = 0; i < 3; ++i) tags.push_back(crowded->wait().tag);
  std::sort(tags.begin(), tags.end());
  EXPECT_EQ(tags, (std::vector<std::size_t>{0, 1, 2}));
  for (std::size_t b = 0; b < 3; ++b) EXPECT_TRUE(holds(to[b], b)) << b;
}

TEST_P(QueuedEngine, WritesWithoutRoomInTheSystem) {
  failing_calls calls;
  calls.refusals = -1;
  const auto crowded = GetParam().make_with(fd, calls);
  block* to = fresh_buffer();
  to[0].bytes.fill(std::byte{99});
  crowded->submit({to->bytes.data(), block_size, 9 * block_size, 3, io_operation::write});
  EXPECT_EQ(crowded->wait().result, std::int64_t{block_size});
  ASSERT_EQ(read(to, 9, 1), std::int64_t{block_size});
  EXPECT_TRUE(holds(to[0], 99));
}

// After many refusals none of the requests comes back later.
TEST_P(QueuedEngine, GoesOnAfterManyRefusals) {
  failing_calls calls;
  const auto crowded = GetParam().make_with(fd, calls);
  for (int round = 0; round < 60; ++round) {
    calls.refusals = round < 50 ? 1 : 0;
    block* to = fresh_buffer();
    const std::uint64_t b = static_cast<std::uint64_t>(round);
    crowded->submit({to->bytes.data(), block_size, b * block_size, 1000 + b});
    const io_completion done = crowded->wait();
    EXPECT_EQ(done.tag, 1000 + b);
    EXPECT_EQ(done.result, std::int64_t{block_size});
    EXPECT_TRUE(holds(to[0], b)) << b;
  }
  EXPECT_EQ(calls.singles, 50);
}

// Refusals while others are under way, again and again: none takes another's place.
TEST_P(QueuedEngine, KeepsThemApartThroughRefusals) {
  failing_calls calls;
  const auto crowded = GetParam().make_with(fd, calls);
  std::vector<block> to(file_blocks);
  std::vector<int> arrived(file_blocks);
  std::size_t under_way = 0;
  const auto wait = [&] {
    const io_completion done = crowded->wait();
    ASSERT_LT(done.tag, file_blocks);
    ++arrived[done.tag];
    --under_way;
  };
  for (std::size_t b = 0; b < file_blocks; ++b) {
    if (under_way == crowded->depth()) {
      ASSERT_NO_FATAL_FAILURE(wait());
    }
    calls.refusals = b % 3 == 2 ? 1 : 0;
    crowded->submit({to[b].bytes.data(), block_size, b * block_size, b});
    ++under_way;
  }
  while (under_way > 0) ASSERT_NO_FATAL_FAILURE(wait());
  EXPECT_EQ(arrived, std::vector<int>(file_blocks, 1));
  for (std::size_t b = 0; b < file_blocks; ++b) EXPECT_TRUE(holds(to[b], b)) << b;
}

TEST(MakeEngine, ChoosesTheNextSimplerOne) {
  EXPECT_EQ(resolve(engine_choice::automatic, true), engine_choice::uring);
  EXPECT_EQ(resolve(engine_choice::automatic, false), engine_choice::sync);
  EXPECT_EQ(resolve(engine_choice::aio, false), engine_choice::aio);
  for (const auto choice : {engine_choice::sync, engine_choice::aio, engine_choice::uring})
    EXPECT_TRUE(make_engine(choice, -1)) << static_cast<int>(choice);
  EXPECT_EQ(make_engine(engine_choice::sync, -1)->depth(), 1u);
}

TEST(SyncEngine, HasOneReadAtATime) { EXPECT_EQ(make_sync_engine(-1)->depth(), 1u); }

}  // namespace
}  // namespace persistent_data
