// SPDX-License-Identifier: GPL-3.0-or-later
// Copies against a model: every block that was asked for, no byte of another one, whatever source
// and target do.
#include "era/backup/block_copier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>

#include "persistent-data/format/errors.h"
#include "persistent-data/testing/scratch_directory.h"

namespace era {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr std::uint32_t block_size = 8;  // sectors
constexpr std::size_t block_bytes = 4096;

// Completes writes in any order, fails when it is told to, and remembers what it was asked.
class memory_target final : public backup_target {
 public:
  memory_target(std::size_t bytes, std::uint64_t seed) : held(bytes, '\xaa'), random_(seed) {}

  const std::string& name() const noexcept override { return name_; }
  std::uint64_t size() const noexcept override { return held.size(); }
  std::uint64_t held_bytes() const noexcept override { return held.size(); }
  bool reads_as_zeros(std::uint64_t offset, std::uint64_t bytes) override {
    return offset >= zeros_from || (bytes == 0 && offset == zeros_from);
  }
  std::size_t depth() const noexcept override { return 5; }
  void start(const backup_write& w) override {
    if (fails_at-- == 0) throw pd::device_error("TARGET: cannot write");
    for (const backup_write& other : under_way_) EXPECT_NE(other.tag, w.tag);
    under_way_.push_back(w);
    most_under_way = std::max(most_under_way, under_way_.size());
    if (w.is_zero) ++zero_writes;
  }
  std::size_t wait() override {
    if (under_way_.empty()) ADD_FAILURE() << "nothing is under way";
    if (fails_in_wait-- == 0) {
      under_way_.pop_back();
      throw pd::device_error("TARGET: cannot write");
    }
    std::swap(under_way_[random_() % under_way_.size()], under_way_.back());
    const backup_write w = under_way_.back();
    under_way_.pop_back();
    std::memcpy(held.data() + w.offset, w.data.data(), w.data.size());
    return w.tag;
  }
  void flush() override { ++flushes; }
  void read(std::uint64_t offset, std::span<std::byte> to) override {
    std::memcpy(to.data(), held.data() + offset, to.size());
  }

  std::string held;
  std::uint64_t zeros_from = ~std::uint64_t{0};
  std::size_t most_under_way = 0, zero_writes = 0, flushes = 0;
  int fails_at = -1, fails_in_wait = -1;

 private:
  std::string name_ = "TARGET";
  std::mt19937_64 random_;
  std::vector<backup_write> under_way_;
};

// Some bytes cannot be read; reads are cut short.
class bad_reads : public pd::system_calls {
 public:
  std::vector<std::pair<off_t, off_t>> bad;
  std::size_t longest = ~std::size_t{0};
  bool demands_sectors = false;

  ssize_t pread(int fd, void* to, std::size_t bytes, off_t offset) override {
    if (demands_sectors && (offset % 512 != 0 || bytes % 512 != 0)) {
      errno = EINVAL;
      return -1;
    }
    bytes = std::min(bytes, longest);
    for (const auto& [begin, end] : bad)
      if (offset < end && begin < offset + static_cast<off_t>(bytes)) {
        errno = EIO;
        return -1;
      }
    return ::pread(fd, to, bytes, offset);
  }
};

class BlockCopier : public ::testing::Test {
 protected:
  void make_source(std::size_t bytes) {
    source_.emplace(directory_.random_file("source", bytes, 1), pd::access::reading, calls_);
    target_.emplace(bytes, 2);
  }
  copy_report copy(std::vector<origin_range> ranges, block_copier_options options = {}) {
    options.block_size = options.block_size != 0 ? options.block_size : block_size;
    const block_set none(0);
    blocks_to_copy blocks(none, std::move(ranges));
    block_copier copier(*source_, *target_, options);
    return copier.copy(blocks);
  }
  std::string expected(const std::vector<origin_range>& ranges,
                       std::size_t bytes_per_block = block_bytes) const {
    const std::string source = pd::test::content_of(source_->path());
    std::string wanted(source.size(), '\xaa');
    for (const origin_range& r : ranges) {
      const std::size_t begin = r.begin * bytes_per_block;
      const std::size_t end = std::min<std::size_t>(source.size(), r.end * bytes_per_block);
      wanted.replace(begin, end - begin, source, begin, end - begin);
    }
    return wanted;
  }

  pd::test::scratch_directory directory_;
  bad_reads calls_;
  std::optional<data_device> source_;
  std::optional<memory_target> target_;
};

TEST_F(BlockCopier, CopiesTheBlocksAndNoOthers) {
  make_source(20 << 20);
  const std::vector<origin_range> ranges{{0, 1}, {3, 2000}, {2001, 2002}, {5119, 5120}};
  const copy_report copied = copy(ranges);
  EXPECT_EQ(copied.blocks, 2000u);
  EXPECT_EQ(copied.bytes, 2000u * block_bytes);
  EXPECT_THAT(copied.unread, IsEmpty());
  EXPECT_TRUE(target_->held == expected(ranges));
  EXPECT_GT(target_->most_under_way, 1u);
  EXPECT_EQ(target_->flushes, 1u);
}

TEST_F(BlockCopier, EndsTheLastBlockWithTheSource) {
  make_source(10 * block_bytes + 512);
  const copy_report copied = copy({{9, 11}});
  EXPECT_EQ(copied.bytes, block_bytes + 512);
  EXPECT_TRUE(target_->held == expected({{9, 11}}));
}

TEST_F(BlockCopier, CopiesBlocksOfAnySize) {
  make_source(12 << 20);
  // 3 MiB, which is more than a piece, and 88 KiB, which does not divide it.
  for (const std::uint32_t sectors : {6144u, 176u}) {
    target_.emplace(12 << 20, 3);
    copy({{1, 3}}, {.block_size = sectors});
    EXPECT_TRUE(target_->held == expected({{1, 3}}, std::size_t{sectors} * 512)) << sectors;
  }
}

TEST_F(BlockCopier, GoesOnAfterShortReads) {
  make_source(64 * block_bytes);
  calls_.longest = 1536;
  copy({{0, 64}});
  EXPECT_TRUE(target_->held == expected({{0, 64}}));
}

TEST_F(BlockCopier, NamesTheBlocksThatCannotBeRead) {
  make_source(64 * block_bytes);
  calls_.bad = {{10 * block_bytes + 700, 10 * block_bytes + 701}};
  try {
    copy({{0, 64}});
    ADD_FAILURE() << "copied";
  } catch (const pd::device_error& e) {
    EXPECT_THAT(e.what(), HasSubstr("source: block 10 cannot be read: Input/output error"));
    EXPECT_THAT(e.what(), HasSubstr("--keep-going"));
  }
}

TEST_F(BlockCopier, KeepsGoingAroundThem) {
  make_source(1200 * block_bytes);
  calls_.bad = {{10 * block_bytes, 10 * block_bytes + 1},
                {11 * block_bytes, 12 * block_bytes},
                {700 * block_bytes + 5, 700 * block_bytes + 6}};
  std::vector<std::uint64_t> told;
  const copy_report copied =
      copy({{0, 1200}}, {.keep_going = true, .unreadable = [&](origin_range r, int error) {
                           EXPECT_EQ(error, EIO);
                           for (std::uint64_t b = r.begin; b < r.end; ++b) told.push_back(b);
                         }});
  EXPECT_THAT(copied.unread, ElementsAre(origin_range{10, 12}, origin_range{700, 701}));
  EXPECT_THAT(told, ElementsAre(10, 11, 700));
  EXPECT_TRUE(target_->held == expected({{0, 10}, {12, 700}, {701, 1200}}));
}

TEST_F(BlockCopier, CountsABlockInSeveralPiecesAsUnreadOnce) {
  make_source(12 << 20);
  calls_.bad = {{3 << 20, (6 << 20) - 1}};
  std::vector<origin_range> reported;
  const copy_report copied = copy(
      {{0, 4}}, {.block_size = 6144, .keep_going = true, .unreadable = [&](origin_range r, int) {
                   reported.push_back(r);
                 }});
  EXPECT_THAT(copied.unread, ElementsAre(origin_range{1, 2}));
  EXPECT_THAT(reported, ElementsAre(origin_range{1, 2}));
}

// The device gives odd numbers of bytes. Direct I/O goes on at sectors only.
TEST_F(BlockCopier, GoesOnAtSectorsAfterShortReads) {
  make_source(64 * block_bytes);
  calls_.longest = 1700;
  calls_.demands_sectors = true;
  copy({{0, 64}});
  EXPECT_TRUE(target_->held == expected({{0, 64}}));
}

TEST_F(BlockCopier, WritesNoZerosThatTheTargetHas) {
  make_source(4 << 20);
  std::string content(4 << 20, '\0');
  content[(1 << 20) + 5] = 'x';
  source_.emplace(directory_.file("zeros", content), pd::access::reading);
  target_->zeros_from = 0;
  std::fill(target_->held.begin(), target_->held.end(), '\0');
  const copy_report copied = copy({{0, 1024}});
  EXPECT_EQ(copied.zero_bytes, (4u << 20) - (64u << 10));
  EXPECT_TRUE(target_->held == content);
}

TEST_F(BlockCopier, WritesAPieceInSeveralParts) {
  make_source(8 << 20);
  std::string content(8 << 20, '\0');
  for (std::size_t at = 0; at < content.size(); at += 192 << 10) content[at] = 'x';
  source_.emplace(directory_.file("dotted", content), pd::access::reading);
  target_->zeros_from = 0;
  std::fill(target_->held.begin(), target_->held.end(), '\0');
  copy({{0, 2048}});
  EXPECT_TRUE(target_->held == content);
}

TEST_F(BlockCopier, WritesZerosOverOlderData) {
  make_source(4 << 20);
  source_.emplace(directory_.file("zeros", std::string(4 << 20, '\0')), pd::access::reading);
  const copy_report copied = copy({{0, 1024}});
  EXPECT_EQ(copied.zero_bytes, 0u);
  EXPECT_EQ(target_->zero_writes, 2u);
  EXPECT_TRUE(target_->held == std::string(4 << 20, '\0'));
}

TEST_F(BlockCopier, EndsWhenTheTargetFails) {
  make_source(40 << 20);
  for (const int fails_at : {0, 3, 19}) {
    target_->fails_at = fails_at;
    EXPECT_THROW(copy({{0, 10240}}), pd::device_error) << fails_at;
    target_->fails_at = -1;
    target_->fails_in_wait = fails_at;
    EXPECT_THROW(copy({{0, 10240}}), pd::device_error) << fails_at;
    EXPECT_EQ(target_->flushes, 0u);
  }
}

TEST_F(BlockCopier, EndsWhenProgressThrows) {
  make_source(40 << 20);
  const auto stop = [](std::uint64_t) { throw std::runtime_error("stopped"); };
  EXPECT_THROW(copy({{0, 10240}}, {.progress = stop}), std::runtime_error);
}

class BlockCopierVerify : public BlockCopier {
 protected:
  std::string error_of(std::vector<origin_range> ranges, const copy_report& copied) {
    const block_set none(0);
    blocks_to_copy blocks(none, std::move(ranges));
    block_copier copier(*source_, *target_, {.block_size = block_size, .keep_going = true});
    try {
      copier.verify(blocks, copied);
      return "";
    } catch (const pd::device_error& e) {
      return e.what();
    }
  }
};

TEST_F(BlockCopierVerify, FindsTheByteThatDiffers) {
  make_source(1000 * block_bytes);
  const copy_report copied = copy({{0, 1000}});
  EXPECT_EQ(error_of({{0, 1000}}, copied), "");
  target_->held[999 * block_bytes + 17] ^= 1;
  EXPECT_THAT(error_of({{0, 1000}}, copied), HasSubstr("TARGET: differs from " + source_->path() +
                                                       " at byte 4091921, in block 999"));
  EXPECT_EQ(error_of({{0, 999}}, copied), "");
}

TEST_F(BlockCopierVerify, LeavesOutBlocksThatWereUnread) {
  make_source(100 * block_bytes);
  calls_.bad = {{10 * block_bytes, 10 * block_bytes + 1}};
  const copy_report copied = copy({{0, 100}}, {.keep_going = true});
  ASSERT_THAT(copied.unread, SizeIs(1));
  EXPECT_EQ(error_of({{0, 100}}, copied), "");
  calls_.bad.clear();  // the block can be read now
  EXPECT_EQ(error_of({{0, 100}}, copied), "");
  calls_.bad = {{20 * block_bytes, 20 * block_bytes + 1}};
  EXPECT_THAT(error_of({{0, 100}}, copied), HasSubstr("block 20 cannot be read again"));
}

TEST_F(BlockCopier, IsAModelsCopy) {
  const auto seed = std::random_device()();
  std::mt19937 random(seed);
  for (int round = 0; round < 30; ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << seed << ", round " << round);
    const std::uint32_t sectors = 8u * (1 + static_cast<std::uint32_t>(random()) % 700);
    const std::size_t bytes = 512 * (1 + random() % 20000);
    make_source(bytes);
    const std::size_t blocks = blocks_for(bytes, bytes_of_block(sectors));
    std::vector<origin_range> ranges;
    for (auto n = random() % 10; n > 0; --n) {
      const std::size_t begin = random() % blocks;
      ranges.push_back({begin, std::min<std::size_t>(blocks, begin + 1 + random() % 20)});
    }
    calls_.longest = 512 * (1 + random() % 9000);
    copy(ranges, {.block_size = sectors});
    ASSERT_TRUE(target_->held == expected(ranges, std::size_t{sectors} * 512));
  }
}

}  // namespace
}  // namespace era
