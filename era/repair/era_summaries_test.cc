// SPDX-License-Identifier: GPL-3.0-or-later
// Each array block is read once, and counts in each array that has it.
#include "era/repair/era_summaries.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "persistent-data/testing/blocks.h"
#include "persistent-data/testing/scratch_device.h"

namespace era {
namespace {

using pd::block_nr;

class EraSummaries : public ::testing::Test {
 protected:
  // A block of an era array with these eras.
  void put(std::uint64_t where, const std::vector<pd::le32>& eras) {
    device_[{where}] = pd::test::make_array_block<pd::le32>({where}, eras);
  }
  void put_bits(std::uint64_t where) {
    device_[{where}] =
        pd::test::make_array_block<pd::le64>({where}, std::vector<pd::le64>(3, pd::le64(9)));
  }
  void scan() {
    scan_.scan_all([] {});
    summaries_.emplace(scan_, queue_);
  }
  void expect(const std::vector<block_nr>& blocks, std::uint32_t newest, std::uint64_t written) {
    const era_summary all = summaries_->of(blocks);
    EXPECT_EQ(all.newest, newest);
    EXPECT_EQ(all.written, written);
  }

  pd::test::scratch_device device_{1000};
  pd::block_device opened_ = device_.open();
  pd::read_queue queue_{opened_.make_engine(), opened_.nr_blocks()};
  block_scan scan_{opened_};
  std::optional<era_summaries> summaries_;
};

TEST_F(EraSummaries, AreOfAllBlocksTogether) {
  put(10, {0, 3, 2});
  put(700, {7, 0, 0});
  scan();
  expect({}, 0, 0);
  expect({{10}}, 3, 2);
  expect({{700}, {10}}, 7, 3);
}

TEST_F(EraSummaries, LeaveOutWhatIsNoBlockOfAnEraArray) {
  put(10, {1});
  put_bits(11);
  scan();
  expect({{0}, {10}, {11}, {12}, {5000}}, 1, 1);
}

// Around the runs in which they are counted: every block keeps its own.
TEST_F(EraSummaries, TellBlocksApart) {
  for (std::uint32_t b = 1; b < 1000; ++b)
    if (b % 3 != 0) put(b, std::vector<pd::le32>(b, pd::le32(b)));
  scan();
  for (std::uint32_t b = 1; b < 1000; ++b)
    if (b % 3 != 0) expect({{b}}, b, b);
}

TEST_F(EraSummaries, ReadABlockOnce) {
  put(10, {4});
  scan();
  expect({{10}, {10}}, 4, 2);
  put(10, {5});
  expect({{10}}, 4, 1);
}

TEST_F(EraSummaries, LeaveOutWhatCanNoLongerBeRead) {
  put(10, {4});
  put(11, {6});
  scan();
  device_.cut(11);
  expect({{10}, {11}}, 4, 1);
}

// The device gives something else the second time.
TEST_F(EraSummaries, LeaveOutWhatIsNoLongerSound) {
  put(10, {4});
  put(11, {6});
  put(12, {7});
  scan();
  device_[{11}].as<pd::array_header>().nr_entries = 0xffffffff;
  put_bits(12);
  expect({{10}, {11}, {12}}, 4, 1);
}

}  // namespace
}  // namespace era
