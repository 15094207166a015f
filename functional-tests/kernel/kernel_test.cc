// SPDX-License-Identifier: GPL-3.0-or-later
// A real kernel as the judge, in a virtual machine, with random scenarios: many in one boot. The
// seed is drawn anew for each run and printed; ERA_KERNEL_SEED repeats a run.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <utility>

#include "era/commands/command_line.h"
#include "era/testing/command_run.h"
#include "functional-tests/kernel/history.h"
#include "functional-tests/kernel/virtual_machine.h"

namespace era::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t block_size = 8;  // sectors
constexpr std::uint32_t most_blocks = 3 * 32576 + 1;

std::uint64_t draw_seed() {
  const char* given = std::getenv("ERA_KERNEL_SEED");
  const std::uint64_t seed = given ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

unsigned number_of(const char* variable, unsigned otherwise) {
  const char* given = std::getenv(variable);
  return given ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : otherwise;
}

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
  void resize(std::uint32_t nr_blocks) {
    load(nr_blocks);
    suspend();
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
    run("end", [](device_model& m) { m.wait(); });
    log_ = run("log");
  }
  unsigned run(const std::string& line, std::function<void(device_model&)> effect = {}) {
    const unsigned number = script_.add(line);
    steps_.push_back({number, line, std::move(effect)});
    return number;
  }
  std::mt19937_64& random() { return random_; }
  void start_from(std::function<void(device_model&)> set) { start_ = std::move(set); }

  // Compares everything with what the kernel has answered. may_fail: commands may, when the
  // metadata device is full.
  void expect(const virtual_machine& machine, const std::string& name, bool may_fail) {
    device_model model(most_blocks + 400);
    if (start_) start_(model);
    std::string wrong;
    bool is_lost = false;
    for (const step& s : steps_) {
      const std::string error = machine.answer(s.line, "error");
      if (!error.empty()) {
        if (!may_fail) wrong += s.text + ": " + error + '\n';
        if (s.text.starts_with("create")) is_lost = true;
        model.doubt();
      } else if (s.effect) {
        s.effect(model);
      }
      if (s.text == "status" && error.empty())
        wrong += compare_status(machine, s.line, model, may_fail);
      if (s.text != "image" || is_lost || !wrong.empty()) continue;
      const fs::path image =
          fs::temp_directory_path() / ("era_kernel_image." + std::to_string(::getpid()));
      machine.save_image(s.line, image.string());
      const std::string differences = judge(image.string(), model.expected(s.line), s.line);
      ++judged;
      if (!differences.empty()) {
        const std::string kept = name + "-line" + std::to_string(s.line) + ".img";
        fs::copy_file(image, kept, fs::copy_options::overwrite_existing);
        wrong += "image of line " + std::to_string(s.line) + " (" + kept + "): " + differences;
      }
      for (const char* ending : {"", ".out", ".xml", ".script"})
        fs::remove(image.string() + ending);
    }
    for (const std::string& text : machine.answers(log_))
      if (!may_fail && text.find("unsupported message") == text.npos) wrong += text + '\n';
    if (wrong.empty()) return;
    std::string story;
    for (const step& s : steps_) story += std::to_string(s.line) + ' ' + s.text + '\n';
    ADD_FAILURE() << name << ":\n" << wrong << "of\n" << story;
  }

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
  static std::string compare_status(const virtual_machine& machine, unsigned line,
                                    const device_model& model, bool may_fail) {
    const auto all = machine.answers(line);
    std::istringstream words(all.empty() ? "" : all.front());
    std::string block, used, held;
    std::uint32_t era = 0;
    words >> block >> used >> era >> held;
    if (may_fail) return "";
    if (era != model.era() || (held != "-") != model.has_snapshot())
      return "status: " + words.str() + ", and era " + std::to_string(model.era()) +
             " is expected\n";
    return "";
  }

  agent_script& script_;
  std::mt19937_64 random_;
  std::uint32_t nr_blocks_ = 0, loaded_ = 0;
  bool holds_snapshot_ = false;
  std::vector<step> steps_;
  unsigned log_ = 0;
  std::function<void(device_model&)> start_;
};

// What a user and the time do to a device.
void live_a_life(scenario& s, std::uint64_t length, bool writes_overlap) {
  for (std::uint64_t i = 0; i < length; ++i) {
    switch (s.below(20)) {
      case 0:
      case 1:
      case 2: s.checkpoint(); break;
      case 3: s.snapshot(); break;
      case 4: s.resize(s.size()); break;
      case 5: s.suspend(), s.resume(); break;
      case 6: s.remove(), s.create(s.size()); break;
      case 7: s.discard(); break;
      case 8: s.image(); break;
      case 9: s.status(); break;
      case 10: s.run("digest"); break;
      case 11:
        if (writes_overlap) s.write(false), s.run("pause 20");
        break;
      default: s.write();
    }
  }
}

std::uint64_t seed_of(std::uint64_t seed, std::uint64_t i) { return seed * 1'000'003 + i; }

TEST(Kernel, WritesMetadataThatTheToolsRead) {
  const std::uint64_t seed = draw_seed();
  const unsigned count = number_of("ERA_KERNEL_SCENARIOS", 60);
  virtual_machine machine;
  agent_script script;
  std::vector<std::pair<std::unique_ptr<scenario>, bool>> all;
  for (unsigned i = 0; i < count; ++i) {
    auto s = std::make_unique<scenario>(script, seed_of(seed, i));
    const bool is_full = i % 10 == 9, is_slow = i % 4 == 1, overlaps = i % 4 == 2;
    s->layers(is_full ? 12 + s->below(20) : 1024, is_slow ? 4 : 0, overlaps ? 300 : 0);
    s->run("format");
    s->create(is_full ? 2036 + static_cast<std::uint32_t>(s->below(2000)) : s->size());
    live_a_life(*s, 10 + s->below(is_slow || overlaps ? 20 : 50), overlaps);
    // It ends while digestion goes on, or after a clean removal.
    if (s->one_in(2))
      for (int era = 0; era < 6; ++era) s->write(), s->checkpoint();
    s->image();
    s->remove();
    s->image();
    s->end();
    all.emplace_back(std::move(s), is_full);
  }
  machine.run(script);
  if (!machine.why_not().empty()) GTEST_SKIP() << machine.why_not();
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i].first->expect(machine, "seed " + std::to_string(seed) + " scenario " + std::to_string(i),
                         all[i].second);
  std::printf("%u scenarios, %u images\n", count, scenario::judged);
}

}  // namespace
}  // namespace era::test
