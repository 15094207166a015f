// SPDX-License-Identifier: GPL-3.0-or-later
// The rollback of era(7), for the agent: a dm-cache lies on the era device, the origin below is set
// back to a copy, and the cache then has stale blocks, unless those that era_invalidate --cache
// lists are dropped.
#pragma once

#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>

#include "functional-tests/kernel/agent/device_mapper.h"
#include "functional-tests/kernel/agent/questions.h"

namespace era::test {

class cache_rollback {
 public:
  // answer: prints a line. sectors: of the era device; a multiple of cache_block. era_block:
  // sectors of an era block. The era device exists; its origin is /dev/vdb.
  cache_rollback(device_mapper& dm, std::uint64_t sectors, std::uint64_t era_block,
                 std::function<void(const std::string&)> answer)
      : dm_(dm),
        sectors_(sectors),
        era_block_(era_block),
        answer_(std::move(answer)),
        memory_(sectors * sector_size) {}

  // drops: send the messages.
  void run(unsigned seed, bool drops) {
    std::mt19937_64 random(seed);
    make_cache();
    fill();
    const std::uint32_t next = current_era(dm_) + 1;
    const std::string snapshot = take_snapshot();
    const std::set<std::uint64_t> written = write_more(random);
    pass_through();
    put_back(snapshot);
    const std::map<std::uint64_t, std::uint64_t> cached = read_dump();
    const std::set<std::uint64_t> stale = expected_stale(cached, written);
    const std::uint64_t used = counter(used_blocks);
    drop_stale(next, stale, drops);
    expect_done("suspend", dm_.suspend("cache"));
    load("writethrough");
    if (drops && counter(used_blocks) != used - stale.size())
      wrong(std::to_string(counter(used_blocks)) + " of " + std::to_string(used) +
            " blocks are left, and " + std::to_string(stale.size()) + " were dropped");
    const std::uint64_t hits = hits_of_kept(cached, stale);
    const std::uint64_t differences = stale_sectors(snapshot);
    for (const char* name : {"cache", "copy", "cache_data", "cache_meta"})
      expect_done("remove", dm_.remove(name));
    if (wrong_ == 0)
      answer_("rollback " + std::to_string(cached.size()) + " cached, " +
              std::to_string(stale.size()) + " of them stale, " + std::to_string(hits) +
              " kept and hit, " + std::to_string(differences) + " sectors differ");
  }

 private:
  static constexpr std::uint64_t cache_block = 64, meta_sectors = 8192;
  // In the fields of the cache's status line, whose slashes count as spaces.
  enum field { used_blocks = 4, read_hits = 6 };

  // The cache's devices lie on the results' disk, after the images. The cache has room for every
  // block twice, so that nothing is demoted.
  void make_cache() {
    std::uint64_t at = std::uint64_t{12} << 20;  // sectors: 6 GiB
    const auto add = [&](const char* name, std::uint64_t size) {
      expect_done(name, dm_.create(name, size, "linear", "/dev/vdd " + std::to_string(at)));
      at += size;
    };
    add("cache_meta", meta_sectors);
    add("copy", meta_sectors);
    add("cache_data", 2 * sectors_);
    std::memset(memory_.bytes.get(), 0, 4096);
    transfer(true, device_mapper::path("cache_meta"), 0, 8);
    expect_done("cache", dm_.create("cache", sectors_, "cache", table("writethrough")));
  }

  static std::string table(const std::string& mode) {
    return device_mapper::path("cache_meta") + ' ' + device_mapper::path("cache_data") + ' ' +
           device_mapper::path("era") + ' ' + std::to_string(cache_block) + " 1 " + mode + " smq 0";
  }

  // Requires that the cache is suspended.
  void load(const std::string& mode) {
    expect_done(mode.c_str(), dm_.load("cache", sectors_, "cache", table(mode)));
    expect_done("resume", dm_.resume("cache"));
  }

  // The cache decides by itself which blocks it keeps: the first three quarters are written again
  // and again, until it has half of all.
  void fill() {
    for (unsigned round = 1; round < 1000; ++round) {
      for (std::uint64_t s = 0; s < sectors_; ++s) number(s, round);
      transfer(true, cache(), 0, round == 1 ? sectors_ : sectors_ / 4 * 3);
      if (counter(used_blocks) >= sectors_ / cache_block / 2) return;
    }
    wrong("the cache is not used: " + dm_.status("cache"));
  }

  // As an array takes it: of the origin, while nothing is under way.
  std::string take_snapshot() {
    expect_done("suspend", dm_.suspend("cache"));
    expect_done("suspend", dm_.suspend("era"));
    transfer(false, "/dev/vdb", 0, sectors_);
    std::string copy(memory_.bytes.get(), sectors_ * sector_size);
    expect_done("resume", dm_.resume("era"));
    expect_done("resume", dm_.resume("cache"));
    return copy;
  }

  // Returns the era blocks that it writes to.
  std::set<std::uint64_t> write_more(std::mt19937_64& random) {
    std::set<std::uint64_t> blocks;
    for (int i = 0; i < 40; ++i) {
      const std::uint64_t count = 1 + random() % 40, begin = random() % (sectors_ - count);
      for (std::uint64_t s = begin; s < begin + count; ++s) {
        number(s, 100'000u + static_cast<unsigned>(i));
        blocks.insert(s / era_block_);
      }
      transfer(true, cache(), begin, count);
    }
    return blocks;
  }

  // A cache in use has its mappings on disk when it is suspended.
  void pass_through() {
    expect_done("suspend", dm_.suspend("cache"));
    test::copy(device_mapper::path("cache_meta").c_str(), 0, device_mapper::path("copy").c_str(), 0,
               meta_sectors * sector_size);
    load("passthrough");
  }

  void put_back(const std::string& snapshot) {
    std::memcpy(memory_.bytes.get(), snapshot.data(), snapshot.size());
    transfer(true, "/dev/vdb", 0, sectors_);
  }

  // Cache blocks, and the blocks that they hold.
  std::map<std::uint64_t, std::uint64_t> read_dump() {
    const auto dump = run_program(dump_command());
    if (dump.status != 0) wrong("cache_dump: " + dump.output);
    std::map<std::uint64_t, std::uint64_t> cached;
    std::istringstream lines(dump.output);
    for (std::string line; std::getline(lines, line);) {
      unsigned long long to = 0, from = 0;
      if (std::sscanf(line.c_str(), " <mapping cache_block=\"%llu\" origin_block=\"%llu\"", &to,
                      &from) == 2)
        cached[to] = from;
    }
    return cached;
  }

  std::set<std::uint64_t> expected_stale(const std::map<std::uint64_t, std::uint64_t>& cached,
                                         const std::set<std::uint64_t>& written) const {
    std::set<std::uint64_t> stale;
    for (const auto& [to, from] : cached)
      for (std::uint64_t s = from * cache_block; s < (from + 1) * cache_block; ++s)
        if (written.contains(s / era_block_)) stale.insert(to);
    return stale;
  }

  void drop_stale(std::uint32_t next, const std::set<std::uint64_t>& stale, bool drops) {
    expect_done("take_metadata_snap", dm_.message("era", "take_metadata_snap"));
    const std::string list = dump_command() +
                             " | era_tools invalidate --metadata-snapshot --require-clean "
                             "--cache - --written-since " +
                             std::to_string(next) + ' ' + device_mapper::path("meta");
    const auto text = run_program(list + " --format text");
    const auto messages = run_program(list + " --format messages");
    expect_done("drop_metadata_snap", dm_.message("era", "drop_metadata_snap"));
    if (text.status != 0 || messages.status != 0) wrong(text.output + messages.output);
    std::set<std::uint64_t> listed;
    std::istringstream numbers(text.output);
    for (std::uint64_t begin = 0, end = 0; numbers >> begin >> end;)
      for (; begin < end; ++begin) listed.insert(begin);
    if (listed != stale)
      wrong(std::to_string(listed.size()) + " blocks are listed, and other " +
            std::to_string(stale.size()) + " are expected");
    std::istringstream lines(messages.output);
    for (std::string line; drops && std::getline(lines, line);)
      expect_done(line.c_str(), dm_.message("cache", line));
  }

  static std::string dump_command() { return "cache_dump " + device_mapper::path("copy"); }

  // Reads a sector of each cached block that is not stale.
  std::uint64_t hits_of_kept(const std::map<std::uint64_t, std::uint64_t>& cached,
                             const std::set<std::uint64_t>& stale) {
    const std::uint64_t before = counter(read_hits);
    for (const auto& [to, from] : cached)
      if (!stale.contains(to)) transfer(false, cache(), from * cache_block, 1);
    const std::uint64_t hits = counter(read_hits) - before;
    if (hits != cached.size() - stale.size())
      wrong(std::to_string(hits) + " hits of " + std::to_string(cached.size() - stale.size()));
    return hits;
  }

  std::uint64_t stale_sectors(const std::string& snapshot) {
    transfer(false, cache(), 0, sectors_);
    std::uint64_t differences = 0;
    for (std::uint64_t s = 0; s < sectors_; ++s)
      differences += std::memcmp(memory_.bytes.get() + s * sector_size,
                                 snapshot.data() + s * sector_size, sector_size) != 0;
    return differences;
  }

  // The content of a sector, which no other write has.
  void number(std::uint64_t sector, std::uint32_t version) const {
    char* const at = memory_.bytes.get() + sector * sector_size;
    std::memcpy(at, &sector, sizeof sector);
    std::memcpy(at + sizeof sector, &version, sizeof version);
  }

  // A sector of the device lies at the same place in memory_.
  void transfer(bool writes, const std::string& device, std::uint64_t sector,
                std::uint64_t count) const {
    const int fd = ::open(device.c_str(), (writes ? O_WRONLY : O_RDONLY) | O_DIRECT | O_CLOEXEC);
    char* const at = memory_.bytes.get() + sector * sector_size;
    const std::size_t bytes = count * sector_size;
    const auto offset = static_cast<off_t>(sector * sector_size);
    const ssize_t done = writes ? ::pwrite(fd, at, bytes, offset) : ::pread(fd, at, bytes, offset);
    if (fd < 0 || done != static_cast<ssize_t>(bytes)) die(device);
    ::close(fd);
  }

  static std::string cache() { return device_mapper::path("cache"); }

  std::uint64_t counter(field which) {
    std::string status = dm_.status("cache");
    std::replace(status.begin(), status.end(), '/', ' ');
    std::istringstream words(status);
    std::uint64_t value = 0;
    for (int i = 0; i <= which; ++i) words >> value;
    return value;
  }

  void expect_done(const char* what, int error) {
    if (error) wrong(std::string(what).substr(0, 100) + ": " + std::strerror(error));
  }

  void wrong(const std::string& text) {
    ++wrong_;
    answer_("wrong " + text.substr(0, 400));
  }

  device_mapper& dm_;
  std::uint64_t sectors_, era_block_;
  std::function<void(const std::string&)> answer_;
  aligned_buffer memory_;
  int wrong_ = 0;
};

}  // namespace era::test
