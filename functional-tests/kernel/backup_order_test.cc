// SPDX-License-Identifier: GPL-3.0-or-later
// The order of a backup's steps, inside the machine, with writers that never stop and an origin
// that is slow: the order of era(7) copies every changed block; orders that look as good lose
// blocks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include <fmt/format.h>

#include "functional-tests/kernel/scenario.h"

namespace era::test {
namespace {

TEST(Kernel, AChangedBlockIsLostUnlessTheDeviceIsSuspended) {
  const std::uint64_t seed = draw_seed();
  const unsigned nights = number_of("ERA_KERNEL_NIGHTS", 200);
  virtual_machine machine;
  agent_script script;
  struct part {
    const char* order;
    unsigned nights;
    unsigned line;
  } parts[] = {{"suspend", nights, 0},
               {"driver", std::min(nights, 40u), 0},
               {"checkpoint", 40, 0},
               {"data_first", 40, 0}};
  for (part& p : parts) {
    constexpr std::uint64_t nr_blocks = 500, write_delay = 50;  // milliseconds
    scenario s(script, seed);
    s.layers(1024, 0, write_delay);
    s.run("format");
    s.create(nr_blocks);
    p.line =
        s.run(fmt::format("nights {} {} {} {}", p.nights, seed % 1'000'000, nr_blocks, p.order));
    s.run("end");
    s.run("log");
  }
  machine.run(script);
  if (!machine.why_not().empty()) GTEST_SKIP() << machine.why_not();
  for (const auto& [line, text] : machine.all())
    EXPECT_TRUE(text.starts_with("nights ") || text == "ended") << line << ": " << text;
  for (const part& p : parts) {
    const std::string said = machine.answer(p.line, "nights");
    std::printf("%s: %s\n", p.order, said.c_str());
    const std::string order = p.order;
    EXPECT_EQ(said.ends_with(" 0 lost"), order == "suspend" || order == "driver") << said;
    EXPECT_FALSE(said.empty()) << p.order;
  }
}

}  // namespace
}  // namespace era::test
