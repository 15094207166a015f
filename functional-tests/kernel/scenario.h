// SPDX-License-Identifier: GPL-3.0-or-later
// For the tests against real kernels: a random scenario, as commands for the agent, and what they
// mean to the model. The seed is drawn anew for each test and printed; ERA_KERNEL_SEED repeats one.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "functional-tests/kernel/history.h"
#include "functional-tests/kernel/virtual_machine.h"

namespace era::test {

inline constexpr std::uint64_t block_size = 8;  // sectors
inline constexpr std::uint32_t most_blocks = 3 * 32576 + 1;

// Draws the seed of a test and prints it.
std::uint64_t draw_seed();
// The seed of one of its scenarios.
inline std::uint64_t seed_of(std::uint64_t seed, std::uint64_t i) { return seed * 1'000'003 + i; }

// The value of an environment variable, or another one if it is not set.
unsigned number_of(const char* variable, unsigned otherwise);

// A scenario: the commands go to the agent, and what they mean to the model is done again when the
// answers are known.
class scenario {
 public:
  scenario(agent_script& script, std::uint64_t seed) : script_(script), random_(seed) {}

  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  std::uint32_t size() {
    constexpr std::uint32_t units[] = {64, 1018, 32576};
    const auto unit = units[below(3)];
    const auto near = static_cast<std::int64_t>(unit * (1 + below(unit == 32576 ? 3 : 5))) +
                      static_cast<std::int64_t>(below(3)) - 1;
    return one_in(12) ? 1 + static_cast<std::uint32_t>(below(70))
                      : static_cast<std::uint32_t>(near);
  }

  void layers(std::uint64_t meta_blocks, std::uint64_t meta_delay, std::uint64_t data_delay) {
    run("meta " + std::to_string(meta_blocks * 8) + ' ' + std::to_string(meta_delay));
    run("data " + std::to_string(std::uint64_t{most_blocks} * block_size) + ' ' +
        std::to_string(data_delay));
  }
  void create(std::uint32_t nr_blocks) {
    nr_blocks_ = nr_blocks;
    run("create " + sectors(nr_blocks) + ' ' + std::to_string(block_size),
        [nr_blocks](device_model& m) { m.resume(nr_blocks); });
  }
  void load(std::uint32_t nr_blocks) {
    loaded_ = nr_blocks;
    run("load " + sectors(nr_blocks));
  }
  void suspend() {
    run("suspend");
    run("wait", [](device_model& m) { m.wait(); });
  }
  void resume() {
    if (const std::uint32_t loaded = std::exchange(loaded_, 0)) nr_blocks_ = loaded;
    run("resume", [n = nr_blocks_](device_model& m) { m.resume(n); });
  }
  // The kernel reads the metadata when a table is loaded: what is marked between that and the
  // suspend would be forgotten.
  void resize(std::uint32_t nr_blocks) {
    suspend();
    load(nr_blocks);
    resume();
  }
  void remove() {
    run("wait", [](device_model& m) { m.wait(); });
    run("remove");
  }
  void write(bool waits = true) {
    const std::uint64_t begin = below(nr_blocks_);
    const std::uint64_t longest = one_in(3) ? 300 : 8;
    const std::uint64_t end =
        begin + 1 + below(std::min<std::uint64_t>(nr_blocks_ - begin, longest));
    write(begin, end, waits);
  }
  void write(std::uint64_t begin, std::uint64_t end, bool waits = true) {
    if (waits)
      run("write " + place(begin, end), [=](device_model& m) { m.write(begin, end); });
    else
      run("begin " + place(begin, end), [=](device_model& m) { m.begin_write(begin, end); });
  }
  void discard() {
    const std::uint64_t begin = below(nr_blocks_);
    const std::uint64_t end = begin + 1 + below(std::min<std::uint64_t>(nr_blocks_ - begin, 300));
    run("discard " + place(begin, end), [=](device_model& m) { m.discard(begin, end); });
  }
  void checkpoint() {
    run("message checkpoint", [](device_model& m) { m.end_era(); });
  }
  void snapshot() {
    holds_snapshot_ = !holds_snapshot_;
    if (holds_snapshot_)
      run("message take_metadata_snap", [](device_model& m) { m.take_snapshot(); });
    else
      run("message drop_metadata_snap", [](device_model& m) { m.drop_snapshot(); });
  }
  bool holds_snapshot() const { return holds_snapshot_; }
  void status() { run("status"); }
  void image() { run("image"); }
  void end() {
    end_ = run("end", [](device_model& m) { m.wait(); });
    log_ = run("log");
  }
  unsigned run(const std::string& line, std::function<void(device_model&)> effect = {}) {
    const unsigned number = script_.add(line);
    steps_.push_back({number, line, std::move(effect)});
    return number;
  }
  std::mt19937_64& random() { return random_; }
  void start_from(std::function<void(device_model&)> set, bool holds_snapshot) {
    start_ = std::move(set);
    holds_snapshot_ = holds_snapshot;
  }

  // Compares everything with what the kernel has answered; a difference fails the test. may_fail:
  // commands may, when the metadata device is full.
  void expect(const virtual_machine&, const std::string& name, bool may_fail);

  static inline unsigned judged = 0;

 private:
  struct step {
    unsigned line;
    std::string text;
    std::function<void(device_model&)> effect;
  };

  static std::string sectors(std::uint64_t blocks) { return std::to_string(blocks * block_size); }
  static std::string place(std::uint64_t begin, std::uint64_t end) {
    return sectors(begin) + ' ' + sectors(end - begin);
  }
  agent_script& script_;
  std::mt19937_64 random_;
  std::uint32_t nr_blocks_ = 0, loaded_ = 0;
  bool holds_snapshot_ = false;
  std::vector<step> steps_;
  unsigned log_ = 0, end_ = 0;
  std::function<void(device_model&)> start_;
};

// The events of a device's life, drawn at random.
void live_a_life(scenario&, std::uint64_t length, bool writes_overlap, bool is_full = false);

}  // namespace era::test
