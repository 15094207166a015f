// SPDX-License-Identifier: GPL-3.0-or-later
// A real kernel as the judge, in a virtual machine, with random scenarios: many in one boot. The
// seed is drawn anew for each run and printed; ERA_KERNEL_SEED repeats a run.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

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

  // Compares everything with what the kernel has answered. may_fail: commands may, when the
  // metadata device is full.
  void expect(const virtual_machine& machine, const std::string& name, bool may_fail) {
    device_model model(most_blocks + 400);
    if (start_) start_(model);
    std::string wrong;
    bool is_lost = false;
    if (!may_fail && machine.answers(end_).empty()) wrong += "the kernel did not reach the end\n";
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
      if (may_fail && machine.answer(s.line, "image").empty()) continue;
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
      if (!may_fail && !is_known(text, model)) wrong += text + '\n';
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
  // Complaints of the kernel that are no fault of the metadata. After the device was made smaller,
  // it can find that a block of the array is not the one that it was looking for (seen: 6.1),
  // without any effect on eras.
  static bool is_known(const std::string& text, const device_model& model) {
    return text.find("unsupported message") != text.npos ||
           (model.was_shrunk() && text.find("array") != text.npos);
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
  unsigned log_ = 0, end_ = 0;
  std::function<void(device_model&)> start_;
};

// The events of a device's life, drawn at random.
void live_a_life(scenario& s, std::uint64_t length, bool writes_overlap, bool is_full = false) {
  for (std::uint64_t i = 0; i < length; ++i) {
    switch (s.below(20)) {
      case 0:
      case 1:
      case 2: s.checkpoint(); break;
      case 3: s.snapshot(); break;
      case 4:
        if (!is_full) s.resize(s.size());
        break;
      case 5:
        if (!is_full) s.suspend(), s.resume();
        break;
      case 6:
        if (!is_full) s.remove(), s.create(s.size());
        break;
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
  const unsigned first = number_of("ERA_KERNEL_FIRST", 0);
  for (unsigned i = first; i < first + count; ++i) {
    auto s = std::make_unique<scenario>(script, seed_of(seed, i));
    // Linux 6.1 stops at a BUG when a device is removed after its metadata device was full
    // (dm-bufio: "leaked buffer"), or its table replaced: so that one is the last, keeps its table,
    // and ends with a power cut. It is not suspended either: it cannot always be resumed.
    const bool is_full = i + 1 == first + count;
    const bool is_slow = i % 4 == 1, overlaps = i % 4 == 2;
    s->layers(is_full ? 12 + s->below(20) : 1024, is_slow ? 4 : 0, overlaps ? 300 : 0);
    s->run("format");
    s->create(is_full ? 2036 + static_cast<std::uint32_t>(s->below(2000)) : s->size());
    live_a_life(*s, 10 + s->below(is_slow || overlaps ? 20 : 50), overlaps, is_full);
    // It ends while digestion goes on, or after a clean removal.
    if (s->one_in(2))
      for (int era = 0; era < 6; ++era) s->write(), s->checkpoint();
    s->image();
    if (is_full) {
      s->run("cut");
    } else {
      s->remove();
      s->image();
      s->end();
    }
    all.emplace_back(std::move(s), is_full);
  }
  machine.run(script, {}, true);  // the last scenario can end in a BUG of the kernel
  if (!machine.why_not().empty()) GTEST_SKIP() << machine.why_not();
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i].first->expect(machine, fmt::format("seed {} scenario {}", seed, first + i),
                         all[i].second);
  std::printf("%u scenarios, %u images\n", count, scenario::judged);
}

// --- Metadata that the tools wrote

// In memory, since simulations of thousands of eras would wait for the disk. A path beside it is
// for other files.
class file_of_metadata {
 public:
  explicit file_of_metadata(std::uint64_t blocks = 1024)
      : fd_(::memfd_create("metadata", MFD_CLOEXEC)),
        path_(fmt::format("/proc/{}/fd/{}", ::getpid(), fd_)),
        beside_((fs::temp_directory_path() / fmt::format("era_kernel.{}.{}", ::getpid(), fd_))
                    .string()) {
    if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(blocks * 4096)) != 0) std::abort();
  }
  ~file_of_metadata() {
    for (const char* ending : {".xml", ".in"}) fs::remove(beside_ + ending);
    ::close(fd_);
  }
  file_of_metadata(const file_of_metadata&) = delete;
  file_of_metadata& operator=(const file_of_metadata&) = delete;
  const std::string& path() const { return path_; }
  std::string beside(const char* ending) const { return beside_ + ending; }

 private:
  int fd_;
  std::string path_, beside_;
};

void must_succeed(const command_result& result) {
  if (result.status != 0) throw std::runtime_error(result.err);
}

// Runs a script of era_sim on zeros, or on metadata that is there.
void simulate(const file_of_metadata& metadata, std::uint32_t nr_blocks,
              const std::string& script) {
  std::ofstream(metadata.beside(".in")) << script;
  must_succeed(run_command(
      sim_command, {"--metadata", metadata.path(), "--size", std::to_string(nr_blocks * block_size),
                    "--block-size", std::to_string(block_size), "--digest", "manual", "--script",
                    metadata.beside(".in")}));
}

// Eras that nothing digests, one writeset each: 27,000 take a writeset tree of three levels, as
// nodes are half full.
std::string many_eras(std::uint32_t nr_blocks, std::uint64_t eras) {
  std::string script;
  for (std::uint64_t i = 0; i < eras; ++i)
    script +=
        fmt::format("write {} {}\nmessage checkpoint\n", i % nr_blocks * block_size, block_size);
  return script;
}

std::string random_script(scenario& s, std::uint32_t nr_blocks, std::uint64_t eras, bool may_snap) {
  std::string script;
  for (std::uint64_t era = 0; era < eras; ++era) {
    for (std::uint64_t i = s.below(4); i > 0; --i) {
      const std::uint64_t begin = s.below(nr_blocks);
      const std::uint64_t size = 1 + s.below(std::min<std::uint64_t>(nr_blocks - begin, 200));
      script += fmt::format("write {} {}\n", begin * block_size, size * block_size);
    }
    if (may_snap && s.one_in(2)) {
      script += "message take_metadata_snap\n";
      may_snap = false;
    } else {
      script += "message checkpoint\n";
    }
    if (s.one_in(3)) script += fmt::format("digest {}\n", 1 + s.below(3));
  }
  return script;
}

// Returns the number of origin blocks of metadata that a tool has made; what names the way.
std::uint32_t make_metadata(scenario& s, unsigned way, const file_of_metadata& file) {
  const std::uint32_t nr_blocks = way % 6 == 4 ? 32576 * 3 : s.size();
  // 201 writesets fit into a leaf of their tree.
  const std::uint64_t eras = s.one_in(4) ? 250 : 1 + s.below(20);
  std::string script = random_script(s, nr_blocks, eras, s.one_in(2));
  if (way % 2 == 0) script += fmt::format("write {} {}\ncrash\n", 0, block_size);
  switch (way % 3) {
    case 0: simulate(file, nr_blocks, script); break;
    case 1: {  // restored
      const file_of_metadata from;
      simulate(from, nr_blocks, script);
      must_succeed(run_command(dump_command, {"-o", file.beside(".xml"), from.path()}));
      must_succeed(run_command(restore_command, {"-i", file.beside(".xml"), "-o", file.path()}));
      break;
    }
    case 2: {  // repaired: a block of the metadata, or its superblock, is lost
      const file_of_metadata from;
      simulate(from, nr_blocks, script);
      std::fstream damaged(from.path(), std::ios::in | std::ios::out | std::ios::binary);
      damaged.seekp(static_cast<std::streamoff>(4096 * (s.one_in(3) ? 0 : s.below(12)) + 100));
      damaged << "damage";
      damaged.close();
      must_succeed(run_command(
          repair_command, {"-q", "-i", from.path(), "-o", file.path(), "--block-size",
                           std::to_string(block_size), "--nr-blocks", std::to_string(nr_blocks)}));
      break;
    }
  }
  return nr_blocks;
}

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
    const std::uint64_t size = has_deep_tree ? 60'000 : 1024;
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

// --- The kernel and the simulator, side by side

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
    // What was shrunk away comes back with the eras of writesets that were not digested meanwhile;
    // the kernel digests when it has time.
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
        add("load " + sectors, "reload " + sectors);
        add("suspend", "suspend");
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

// --- Live metadata

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
