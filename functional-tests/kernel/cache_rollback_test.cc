// SPDX-License-Identifier: GPL-3.0-or-later
// The origin below a cache is rolled back, inside the machine. With the messages of era_invalidate
// --cache the cache then reads as the origin, and has kept all blocks that are not stale; without
// them it reads stale data.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include <fmt/format.h>

#include "functional-tests/kernel/scenario.h"

namespace era::test {
namespace {

TEST(Kernel, ACacheIsRightAfterARollbackIfStaleBlocksAreDropped) {
  if (std::system("command -v cache_dump >/dev/null") != 0)
    GTEST_SKIP() << "needs cache_dump (thin-provisioning-tools)";
  const std::uint64_t seed = draw_seed();
  // The cache's blocks have 64 sectors. Some era blocks of 24 lie in two of them; one of 200 has
  // several.
  constexpr unsigned nr_sectors = 16384;
  virtual_machine machine;
  agent_script script;
  struct part {
    unsigned era_block;
    bool drops;
    unsigned line;
  } parts[] = {{24, true, 0}, {200, true, 0}, {24, false, 0}};
  for (part& p : parts) {
    script.add("meta 8192 0");
    script.add(fmt::format("data {} 0", nr_sectors));
    script.add("format");
    script.add(fmt::format("create {} {}", nr_sectors, p.era_block));
    p.line =
        script.add(fmt::format("rollback {} {} {}", nr_sectors,
                               seed_of(seed, p.era_block) % 1'000'000, p.drops ? "drop" : "keep"));
    script.add("end");
    script.add("log");
  }
  machine.add_program("cache_dump");
  machine.run(script);
  if (!machine.why_not().empty()) GTEST_SKIP() << machine.why_not();
  for (const auto& [line, text] : machine.all())
    EXPECT_TRUE(text.starts_with("rollback ") || text == "ended") << line << ": " << text;
  for (const part& p : parts) {
    const std::string said = machine.answer(p.line, "rollback");
    std::printf("%s: %s\n", p.drops ? "dropped" : "not dropped", said.c_str());
    EXPECT_FALSE(said.empty());
    EXPECT_EQ(said.ends_with(" 0 sectors differ"), p.drops) << said;
    EXPECT_EQ(said.find(" 0 of them stale"), said.npos) << said;
    EXPECT_EQ(said.find(" 0 kept and hit"), said.npos) << said;
  }
}

}  // namespace
}  // namespace era::test
