// SPDX-License-Identifier: GPL-3.0-or-later
// The kernel reads the metadata when a table is loaded. In the order of era(7), which loads it
// while the device is suspended, nothing is forgotten; the other order is shown beside it.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "functional-tests/kernel/scenario.h"

namespace era::test {
namespace {

constexpr std::uint32_t nr_blocks = 64, written = 26;

// Returns the number of the line that copies the metadata.
unsigned replace_table(agent_script& script, std::uint64_t seed, bool loads_first) {
  scenario s(script, seed);
  s.layers(256, 0, 0);
  s.run("format");
  s.create(nr_blocks);
  s.write(9, 10);
  if (loads_first) s.load(nr_blocks);
  s.write(written, written + 1);
  s.suspend();
  if (!loads_first) s.load(nr_blocks);
  s.resume();
  const unsigned image = s.run("image");
  s.end();
  return image;
}

TEST(Kernel, ForgetsNoWriteIfTheTableIsLoadedWhileItIsSuspended) {
  const std::uint64_t seed = draw_seed();
  virtual_machine machine;
  agent_script script;
  const unsigned loaded_first = replace_table(script, seed, true),
                 suspended_first = replace_table(script, seed, false);
  machine.run(script);
  if (!machine.why_not().empty()) GTEST_SKIP() << machine.why_not();
  const std::string path = ::testing::TempDir() + "loaded_table." + std::to_string(::getpid());
  const auto era_of_write = [&](unsigned line) {
    machine.save_image(line, path);
    const auto eras = logical_eras(path);
    std::filesystem::remove(path);
    return eras.at(written);
  };
  std::printf("the load before the suspend: the write has era %u\n", era_of_write(loaded_first));
  EXPECT_EQ(era_of_write(suspended_first), 1);
}

}  // namespace
}  // namespace era::test
