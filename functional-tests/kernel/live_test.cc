// SPDX-License-Identifier: GPL-3.0-or-later
// The commands read live metadata, inside the machine, while a writer is at work.
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "functional-tests/kernel/scenario.h"

namespace era::test {
namespace {

TEST(Kernel, MetadataIsReadWhileItIsLive) {
  const std::uint64_t seed = draw_seed();
  const unsigned rounds = number_of("ERA_KERNEL_ROUNDS", 300);
  virtual_machine machine;
  agent_script script;
  std::vector<unsigned> lives;
  for (const std::uint64_t nr_blocks : {1018u, 70'000u}) {
    for (const std::string& line :
         {std::string("meta 8192 0"),
          fmt::format("data {} 0", std::uint64_t{most_blocks} * block_size), std::string("format"),
          fmt::format("create {} {}", nr_blocks * block_size, block_size)})
      script.add(line);
    lives.push_back(
        script.add(fmt::format("live {} {} {}", rounds / 2, seed % 1'000'000, nr_blocks)));
    script.add("end");
    script.add("log");
  }
  machine.run(script,
              {{"/compact.xml",
                "<superblock uuid=\"\" block_size=\"8\" nr_blocks=\"0\" current_era=\"1\">\n"
                "<era_array></era_array></superblock>\n"}});
  if (!machine.why_not().empty()) GTEST_SKIP() << machine.why_not();
  for (const auto& [line, text] : machine.all())
    EXPECT_TRUE(text.starts_with("live ") || text == "ended") << line << ": " << text;
  for (const unsigned line : lives) {
    const std::string said = machine.answer(line, "live");
    EXPECT_TRUE(said.ends_with(" 0 wrong")) << said;
    std::printf("%s\n", said.c_str());
  }
}

}  // namespace
}  // namespace era::test
