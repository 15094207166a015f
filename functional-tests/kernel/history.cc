// SPDX-License-Identifier: GPL-3.0-or-later
// The model keeps an oldest and a newest possible era for each block. The judge runs the commands
// in this process: check, dump, invalidate for several eras, a round trip through the XML, a
// repair, and the simulator, which continues from the image.
#include "functional-tests/kernel/history.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <random>
#include <sstream>
#include <stdexcept>

#include "era/commands/command_line.h"
#include "era/testing/command_run.h"
#include "era/testing/listed.h"

namespace era::test {

namespace fs = std::filesystem;

void device_model::load(std::uint32_t nr_blocks, std::uint32_t era,
                        const std::vector<std::uint32_t>& eras,
                        const std::optional<std::vector<std::uint32_t>>& snapshot) {
  const auto sized = [&](std::vector<std::uint32_t> v) {
    v.resize(live_.oldest.size());
    return v;
  };
  nr_blocks_ = nr_blocks;
  era_ = era;
  live_ = {sized(eras), sized(eras)};
  if (snapshot) snapshot_ = era_bounds{sized(*snapshot), sized(*snapshot)};
}

void device_model::resume(std::uint32_t nr_blocks) {
  for (std::uint64_t b = nr_blocks; b < nr_blocks_; ++b) live_.oldest[b] = 0;
  nr_blocks_ = nr_blocks;
  ++era_;
}

void device_model::take_snapshot() {
  snapshot_ = bounds();
  ++era_;
}

void device_model::write(std::uint64_t begin, std::uint64_t end) {
  for (std::uint64_t b = begin; b < end; ++b) {
    live_.oldest[b] = era_;
    live_.newest[b] = newest();
  }
}

// The kernel marks the first block of a discard alone, and only if it is discarded as a whole.
void device_model::discard(std::uint64_t begin, std::uint64_t end) {
  for (std::uint64_t b = begin; b < end; ++b) live_.newest[b] = newest();
}

void device_model::fail(const std::function<void(device_model&)>& write) {
  const auto oldest = live_.oldest;
  write(*this);
  live_.oldest = oldest;
}

void device_model::begin_write(std::uint64_t begin, std::uint64_t end) {
  under_way_.push_back({begin, end, era_});
}

void device_model::wait() {
  for (const write_under_way& w : under_way_)
    for (std::uint64_t b = w.begin; b < w.end; ++b) {
      live_.oldest[b] = std::max(live_.oldest[b], w.era);
      live_.newest[b] = newest();
    }
  under_way_.clear();
}

era_bounds device_model::bounds() const {
  era_bounds now = live_;
  for (const write_under_way& w : under_way_)
    for (std::uint64_t b = w.begin; b < w.end; ++b) now.newest[b] = newest();
  return now;
}

expected_image device_model::expected(unsigned line) const {
  return {line, nr_blocks_, era_, bounds(), snapshot_};
}

std::vector<std::uint32_t> logical_eras(const std::string& path,
                                        const std::vector<std::string>& more) {
  std::vector<std::string> arguments{"--logical", "--compact", path};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const command_result dumped = run_command(dump_command, arguments);
  if (dumped.status != 0) throw std::runtime_error("era_dump: " + dumped.err);
  std::vector<std::uint32_t> eras;
  std::istringstream lines(dumped.out);
  for (std::string line; std::getline(lines, line);) {
    unsigned long long begin = 0, length = 0;
    unsigned era = 0;
    if (std::sscanf(line.c_str(), " <range block_begin=\"%llu\" len=\"%llu\" era=\"%u\"/>", &begin,
                    &length, &era) == 3)
      eras.insert(eras.end(), length, era);
  }
  return eras;
}

namespace {

class judgement {
 public:
  judgement(const std::string& path, const expected_image& expected, std::uint64_t seed)
      : path_(path), expected_(expected), random_(seed) {}

  std::string run() {
    check(path_, {});
    compare(expected_.live, {});
    if (expected_.snapshot) {
      check(path_, {"--metadata-snapshot"});
      compare(*expected_.snapshot, {"--metadata-snapshot"});
    }
    if (wrong_.empty()) restore();
    if (wrong_.empty()) repair();
    if (wrong_.empty()) simulate();
    return wrong_;
  }

 private:
  void fail(const std::string& text) {
    if (wrong_.size() < 4000) wrong_ += text + '\n';
  }

  command_result ran(int (*command)(int, char**), std::vector<std::string> arguments,
                     const std::vector<std::string>& more = {}) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_command(command, std::move(arguments));
  }

  void check(const std::string& path, const std::vector<std::string>& more) {
    const auto result = ran(check_command, {path}, more);
    if (result.status != 0) fail("era_check: " + result.err);
  }

  void compare(const era_bounds& bounds, const std::vector<std::string>& more) {
    std::vector<std::uint32_t> eras;
    try {
      eras = logical_eras(path_, more);
    } catch (const std::runtime_error& e) {
      return fail(e.what());
    }
    if (more.empty() && eras.size() != expected_.nr_blocks)
      return fail("era_dump has " + std::to_string(eras.size()) + " blocks");
    std::uint32_t latest = 0;
    for (std::size_t b = 0; b < eras.size(); ++b) {
      if (eras[b] < bounds.oldest[b])
        fail("MISSING: block " + std::to_string(b) + " has era " + std::to_string(eras[b]) +
             ", and was written in era " + std::to_string(bounds.oldest[b]));
      else if (eras[b] > bounds.newest[b])
        fail("block " + std::to_string(b) + " has era " + std::to_string(eras[b]) +
             ", and cannot have one above " + std::to_string(bounds.newest[b]));
      latest = std::max(latest, eras[b]);
    }
    // A metadata snapshot answers for the eras before it only: the latest era in it is one of them.
    const std::uint32_t most = more.empty() ? latest + 1 : std::max(latest, 1u);
    for (const std::uint32_t since : {1u, latest, 1 + static_cast<std::uint32_t>(random_() % most)})
      list(eras, since, more);
  }

  void list(const std::vector<std::uint32_t>& eras, std::uint32_t since,
            const std::vector<std::string>& more) {
    for (const bool repairs : {false, true}) {
      std::vector<std::string> arguments{"--format", "text", "--written-since",
                                         std::to_string(since), path_};
      if (repairs) arguments.push_back("--repair");
      const auto listed = ran(invalidate_command, arguments, more);
      if (listed.status != 0) return fail("era_invalidate: " + listed.err);
      if (listed.out != listed_since(eras, since))
        fail("era_invalidate --written-since " + std::to_string(since) +
             " and era_dump do not agree");
    }
  }

  std::string output() const {
    std::string name = path_ + ".out";
    fs::remove(name);
    fs::copy_file(path_, name);
    fs::resize_file(name, std::max<std::uintmax_t>(fs::file_size(path_), 4 << 20));
    return name;
  }

  void expect_same(const std::string& other, const char* who) {
    check(other, {});
    try {
      if (logical_eras(other) != logical_eras(path_))
        fail(std::string(who) + " has changed the eras of blocks");
    } catch (const std::runtime_error& e) {
      fail(std::string(who) + ": " + e.what());
    }
  }

  void restore() {
    const std::string xml = path_ + ".xml", to = output();
    auto result = ran(dump_command, {"-o", xml, path_});
    if (result.status == 0) result = ran(restore_command, {"-q", "-i", xml, "-o", to});
    if (result.status != 0) return fail("era_dump and era_restore: " + result.err);
    expect_same(to, "era_restore");
  }

  void repair() {
    const std::string to = output();
    const auto result = ran(repair_command, {"-i", path_, "-o", to});
    if (result.status != 0) return fail("era_repair: " + result.err);
    expect_same(to, "era_repair");
  }

  // A write, and all of digestion, on a copy that has room.
  void simulate() {
    const std::string to = output(), script = path_ + ".script";
    fs::remove(to);
    fs::copy_file(path_, to);
    FILE* file = std::fopen(script.c_str(), "w");
    if (!file) return fail("cannot write a script");
    std::fputs("message checkpoint\ndigest all\n", file);
    std::fclose(file);
    const auto result = ran(sim_command, {"--metadata", to, "--script", script});
    // A metadata device that is nearly full may have no room for another era; nothing is lost.
    constexpr std::uintmax_t is_small = 262'144;  // bytes
    if (result.status != 0 && fs::file_size(path_) > is_small)
      return fail("era_sim: " + result.err);
    expect_same(to, "era_sim");
  }

  const std::string path_;
  const expected_image& expected_;
  std::mt19937_64 random_;
  std::string wrong_;
};

}  // namespace

std::string judge(const std::string& path, const expected_image& expected, std::uint64_t seed) {
  return judgement(path, expected, seed).run();
}

}  // namespace era::test
