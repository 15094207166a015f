// SPDX-License-Identifier: GPL-3.0-or-later
// A kernel continues from metadata that the tools have made, and the tools read it again.
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include <optional>

#include "era/commands/command_line.h"
#include "era/testing/command_run.h"
#include "functional-tests/kernel/made_metadata.h"

namespace era::test {
namespace {

TEST(Kernel, ContinuesFromMetadataThatTheToolsWrote) {
  const std::uint64_t seed = draw_seed();
  const unsigned count = number_of("ERA_KERNEL_SCENARIOS", 36),
                 first = number_of("ERA_KERNEL_FIRST", 0);
  scenario::judged = 0;
  virtual_machine machine;
  agent_script script;
  std::vector<std::unique_ptr<scenario>> all;
  for (unsigned i = first; i < first + count; ++i) {
    auto s = std::make_unique<scenario>(script, seed_of(seed, i));
    const bool has_deep_tree = i + 1 == first + count;
    const std::uint64_t size = has_deep_tree ? 60'000 : roomy_metadata;
    const file_of_metadata file(size);
    std::uint32_t nr_blocks = 64;
    if (has_deep_tree)
      simulate(file, nr_blocks, many_eras(nr_blocks, 27'000));
    else
      nr_blocks = make_metadata(*s, i, file);
    const auto eras = logical_eras(file.path());
    std::optional<std::vector<std::uint32_t>> snapshot;
    if (run_command(check_command, {"--metadata-snapshot", file.path()}).status == 0)
      snapshot = logical_eras(file.path(), {"--metadata-snapshot"});
    const std::string xml = run_command(dump_command, {"--compact", file.path()}).out;
    unsigned era = 0;
    ASSERT_EQ(std::sscanf(xml.c_str() + xml.find("current_era="), "current_era=\"%u\"", &era), 1);
    s->start_from([=](device_model& m) { m.load(nr_blocks, era, eras, snapshot); },
                  snapshot.has_value());
    s->layers(size, 0, 0);
    s->run(machine.add_input(file.path()));
    s->create(s->one_in(2) ? nr_blocks : s->size());
    if (s->one_in(2)) s->image();
    s->write();
    s->checkpoint();
    s->run("digest");
    s->image();
    if (!has_deep_tree) live_a_life(*s, 5 + s->below(30), false);
    s->remove();
    s->image();
    s->end();
    all.push_back(std::move(s));
  }
  machine.run(script);
  if (!machine.why_not().empty()) GTEST_SKIP() << machine.why_not();
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i]->expect(machine, fmt::format("seed {} scenario {}", seed, first + i), false);
  std::printf("%u scenarios, %u images\n", count, scenario::judged);
}

}  // namespace
}  // namespace era::test
