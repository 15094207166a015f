// SPDX-License-Identifier: GPL-3.0-or-later
// A kernel and the simulator get the same commands, and answer alike.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "era/commands/command_line.h"
#include "era/testing/command_run.h"
#include "functional-tests/kernel/made_metadata.h"

namespace era::test {
namespace {

// One sequence of commands, in the words of both.
class pair_of_scripts {
 public:
  explicit pair_of_scripts(std::uint64_t seed, agent_script& agent)
      : random_(seed), agent_(agent) {}

  struct line {
    unsigned number;        // of the agent's script
    std::string simulated;  // empty: the simulator's process ends here
  };

  void draw(std::uint64_t length) {
    nr_blocks_ = smallest_ = 64 + below(3000);
    add("meta 8192 0", "#");
    add(fmt::format("data {} 0", std::uint64_t{most_blocks} * block_size), "#");
    add("format", "#");
    create();
    for (std::uint64_t i = 0; i < length; ++i) step();
    remove();
    image_ = agent_.add("image");
    agent_.add("end");
  }

  // Compares the kernel's answers with the simulator's, command by command.
  void expect(const virtual_machine& machine, const std::string& name) {
    const file_of_metadata metadata;
    std::size_t from = 0;
    while (from < lines_.size()) {
      std::size_t to = from;
      std::string script;
      std::vector<unsigned> statuses;
      for (; to < lines_.size() && !lines_[to].simulated.empty(); ++to) {
        const std::string error = machine.answer(lines_[to].number, "error");
        if (lines_[to].simulated == "status") statuses.push_back(lines_[to].number);
        script += (error.empty() ? "" : "!") + lines_[to].simulated + '\n';
      }
      std::ofstream(metadata.beside(".in")) << script;
      const auto ran = run_command(
          sim_command,
          {"--metadata", metadata.path(), "--size", std::to_string(sizes_.at(lives_++)),
           "--block-size", std::to_string(block_size), "--script", metadata.beside(".in")});
      EXPECT_EQ(ran.status, 0) << name << ": " << ran.err << script;
      std::istringstream simulated(ran.out);
      for (const unsigned number : statuses) {
        std::string text;
        std::getline(simulated, text);
        const auto kernel = machine.answers(number);
        ASSERT_FALSE(kernel.empty()) << name << " line " << number;
        EXPECT_EQ(era_and_snapshot(kernel.front()),
                  era_and_snapshot(text.substr(text.find("era ") + 4)))
            << name << " line " << number << ": " << kernel.front() << " and " << text << '\n'
            << script;
      }
      from = to + 1;
    }
    const file_of_metadata of_kernel;
    machine.save_image(image_, of_kernel.path());
    const auto kernel = logical_eras(of_kernel.path()), simulated = logical_eras(metadata.path());
    ASSERT_EQ(kernel.size(), simulated.size()) << name;
    // Blocks that were shrunk away come back with the eras of writesets that were not digested
    // meanwhile; the kernel digests when it has time.
    for (std::size_t b = 0; b < std::min<std::size_t>(kernel.size(), smallest_); ++b)
      ASSERT_EQ(kernel[b], simulated[b]) << name << ": block " << b;
  }

 private:
  std::uint64_t below(std::uint64_t n) { return random_() % n; }

  void add(const std::string& for_agent, const std::string& for_simulator) {
    lines_.push_back({agent_.add(for_agent), for_simulator});
  }
  void create() {
    sizes_.push_back(nr_blocks_ * block_size);
    add(fmt::format("create {} {}", nr_blocks_ * block_size, block_size), "#");
  }
  void remove() { add("remove", ""); }

  void step() {
    const std::uint64_t begin = below(nr_blocks_);
    const std::uint64_t size = 1 + below(std::min<std::uint64_t>(nr_blocks_ - begin, 100));
    const std::string place = fmt::format("{} {}", begin * block_size, size * block_size);
    const std::string past_end = fmt::format("{} 8", nr_blocks_ * block_size);
    constexpr const char* messages[] = {"checkpoint",         "CheckPoint",  "take_metadata_snap",
                                        "drop_metadata_snap", "checkpoint2", "snap",
                                        "TAKE_METADATA_SNAP"};
    switch (below(10)) {
      case 0:
      case 1:
      case 2: {
        const std::string text = std::string("message ") + messages[below(std::size(messages))];
        add(text, text);
        break;
      }
      case 3: add("status", "status"); break;
      case 4: {
        nr_blocks_ = 64 + below(3000);
        smallest_ = std::min(smallest_, nr_blocks_);
        const std::string sectors = std::to_string(nr_blocks_ * block_size);
        add("suspend", "suspend");
        add("load " + sectors, "reload " + sectors);
        add("resume", "resume");
        break;
      }
      case 5: add("suspend", "suspend"), add("resume", "resume"); break;
      case 6:
        if (below(3) == 0) remove(), create();
        break;
      case 7: add("write " + past_end, "write " + past_end); break;
      default: add("write " + place, "write " + place);
    }
  }

  // "8 11/1024 3 -" has other blocks in each.
  static std::string era_and_snapshot(const std::string& status) {
    std::istringstream words(status);
    std::string block, used, era, held;
    words >> block >> used >> era >> held;
    return era + (held == "-" ? "" : " and a snapshot");
  }

  std::mt19937_64 random_;
  agent_script& agent_;
  std::uint64_t nr_blocks_ = 0, smallest_ = 0;
  std::vector<line> lines_;
  std::vector<std::uint64_t> sizes_;  // sectors, of each life
  std::size_t lives_ = 0;
  unsigned image_ = 0;
};

TEST(Kernel, AnswersAsTheSimulatorDoes) {
  const std::uint64_t seed = draw_seed();
  const unsigned count = number_of("ERA_KERNEL_SCENARIOS", 40),
                 first = number_of("ERA_KERNEL_FIRST", 0);
  virtual_machine machine;
  agent_script script;
  std::vector<std::unique_ptr<pair_of_scripts>> all;
  for (unsigned i = first; i < first + count; ++i) {
    all.push_back(std::make_unique<pair_of_scripts>(seed_of(seed, i), script));
    all.back()->draw(10 + seed_of(seed, i) % 60);
  }
  // Tables that cannot be: block sizes, and another one than that of the metadata.
  const std::vector<std::string> refused_sizes{"0", "7", "12", "4294967296", "x", "16"};
  std::vector<unsigned> refused;
  for (const char* line : {"meta 8192 0", "data 65536 0", "format", "create 65536 8", "remove"})
    script.add(line);
  for (const std::string& size : refused_sizes)
    refused.push_back(script.add("create 65536 " + size));
  machine.run(script);
  if (!machine.why_not().empty()) GTEST_SKIP() << machine.why_not();
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i]->expect(machine, fmt::format("seed {} scenario {}", seed, first + i));
  const file_of_metadata metadata;
  simulate(metadata, 8192, "");
  for (std::size_t i = 0; i < refused.size(); ++i) {
    EXPECT_NE(machine.answer(refused[i], "error"), "") << "block size " << refused_sizes[i];
    EXPECT_NE(run_command(sim_command, {"--metadata", metadata.path(), "--block-size",
                                        refused_sizes[i], "--script", "/dev/null"})
                  .status,
              0)
        << "block size " << refused_sizes[i];
  }
}

}  // namespace
}  // namespace era::test
