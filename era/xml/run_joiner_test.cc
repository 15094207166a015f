// SPDX-License-Identifier: GPL-3.0-or-later
// However a sequence is cut into pieces, its runs come out the same.
#include "era/xml/run_joiner.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace era {
namespace {

void print(text_buffer& text, const value_run& run) {
  text.append(fmt::format("{}-{}:{} ", run.blocks.begin, run.blocks.end, run.value));
}

std::string joined(const std::vector<std::uint32_t>& values, const std::vector<std::size_t>& cuts) {
  const run_printer printer = print;
  run_joiner joiner(printer);
  text_buffer out;
  std::size_t begin = 0;
  for (const std::size_t end : cuts) {
    piece_of_runs piece;
    run_collector collector(piece, printer);
    for (std::size_t i = begin; i < end; ++i) collector.add({{i, i + 1}, values[i]});
    joiner.add(piece, out);
    begin = end;
  }
  joiner.finish(out);
  return std::string(out.view());
}

TEST(RunJoiner, JoinsOverTheBordersOfPieces) {
  const std::vector<std::uint32_t> values{1, 1, 2, 2, 2, 2, 3};
  const std::string expected = "0-2:1 2-6:2 6-7:3 ";
  EXPECT_EQ(joined(values, {7}), expected);
  EXPECT_EQ(joined(values, {1, 2, 3, 4, 5, 6, 7}), expected);
  EXPECT_EQ(joined(values, {3, 3, 5, 7}), expected);
}

TEST(RunJoiner, LeavesGapsBetweenBlocksThatAreNotListed) {
  const run_printer printer = print;
  run_joiner joiner(printer);
  text_buffer out;
  piece_of_runs first, second;
  run_collector(first, printer).add({{0, 4}, 1});
  run_collector(second, printer).add({{5, 6}, 1});
  joiner.add(first, out);
  joiner.add(second, out);
  joiner.finish(out);
  EXPECT_EQ(out.view(), "0-4:1 5-6:1 ");
}

TEST(RunJoiner, DoesNotDependOnTheCuts) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 500; ++round) {
    std::vector<std::uint32_t> values(1 + random() % 30);
    for (auto& v : values) v = static_cast<std::uint32_t>(random() % 3);
    std::vector<std::size_t> cuts;
    for (std::size_t i = 0; i < values.size(); ++i)
      if (random() % 3 == 0) cuts.push_back(i);
    cuts.push_back(values.size());
    ASSERT_EQ(joined(values, cuts), joined(values, {values.size()}));
  }
}

}  // namespace
}  // namespace era
