// SPDX-License-Identifier: GPL-3.0-or-later
// The tools on live metadata, for the agent: a writer is at work, eras end, snapshots come and go,
// and each answer is held against what is known to be written.
#pragma once

#include <atomic>
#include <functional>
#include <random>
#include <sstream>

#include "functional-tests/kernel/agent/device_mapper.h"
#include "functional-tests/kernel/agent/questions.h"

namespace era::test {

// Writes all the time, in a thread of its own, and keeps between which eras each block was written:
// in `known` or later, and in `possible` or earlier.
class live_writer {
 public:
  struct block {
    std::atomic<std::uint32_t> known = 0;     // written in this era at least
    std::atomic<std::uint32_t> possible = 0;  // and in this one at most
  };

  live_writer(std::uint64_t nr_blocks, std::uint64_t block_size, unsigned seed,
              const std::atomic<std::uint32_t>& oldest, const std::atomic<std::uint32_t>& newest)
      : blocks_(nr_blocks), oldest_(oldest), newest_(newest) {
    thread_ = std::thread([this, block_size, seed] {
      std::mt19937_64 random(seed);
      while (!stop_) {
        const std::uint64_t b = random() % blocks_.size();
        block& here = blocks_[b];
        const std::uint32_t from = oldest_;
        here.possible = never_ends;
        if (write_sectors(b * block_size, 8) != 0) failed_ = true;
        here.known = from;
        here.possible = newest_.load();
        ++writes_;
      }
    });
  }
  ~live_writer() {
    stop_ = true;
    thread_.join();
  }

  static constexpr std::uint32_t never_ends = ~std::uint32_t{0};
  const std::vector<block>& blocks() const { return blocks_; }
  std::uint64_t writes() const { return writes_; }
  bool failed() const { return failed_; }

 private:
  std::vector<block> blocks_;
  const std::atomic<std::uint32_t>&oldest_, &newest_;
  std::atomic<bool> stop_ = false, failed_ = false;
  std::atomic<std::uint64_t> writes_ = 0;
  std::thread thread_;
};

class live_metadata {
 public:
  // answer: prints a line.
  live_metadata(device_mapper& dm, std::uint64_t block_size,
                std::function<void(const std::string&)> answer)
      : dm_(dm), block_size_(block_size), answer_(std::move(answer)) {}

  void run(std::uint64_t rounds, unsigned seed, std::uint64_t nr_blocks) {
    std::mt19937_64 random(seed);
    std::atomic<std::uint32_t> oldest = current_era(dm_), newest = oldest.load();
    const auto end_era = [&](const char* text) {
      ++newest;
      if (const int error = dm_.message("era", text))
        wrong(std::string(text) + ": " + std::strerror(error));
      ++oldest;
    };
    std::uint64_t writes = 0;
    {
      live_writer writer(nr_blocks, block_size_, seed, oldest, newest);
      for (std::uint64_t round = 0; round < rounds && wrong_ < 5; ++round) {
        wait_for(writer, 3);
        if (round % 16 == 0) expect_in_use();
        if (random() % 2 == 0) end_era("checkpoint");
        std::vector<std::uint32_t> known(nr_blocks), possible(nr_blocks);
        for (std::size_t i = 0; i < nr_blocks; ++i) known[i] = writer.blocks()[i].known;
        end_era("take_metadata_snap");
        const std::uint32_t taken = newest;  // it says nothing of that era
        for (std::size_t i = 0; i < nr_blocks; ++i) possible[i] = writer.blocks()[i].possible;
        // The live metadata archives these writes, and the snapshot does not have them.
        if (random() % 2 == 0) {
          wait_for(writer, 2);
          end_era("checkpoint");
        }
        const std::uint32_t since = 1 + static_cast<std::uint32_t>(random() % (taken - 1));
        expect_snapshot(round % 3, since, known, possible);
        if (const int error = dm_.message("era", "drop_metadata_snap"))
          wrong(std::string("drop_metadata_snap: ") + std::strerror(error));
      }
      if (writer.failed()) wrong("a write failed");
      writes = writer.writes();
    }
    answer_("live " + std::to_string(rounds) + " rounds, " + std::to_string(writes) + " writes, " +
            std::to_string(wrong_) + " wrong");
  }

 private:
  static void wait_for(const live_writer& writer, std::uint64_t writes) {
    const std::uint64_t enough = writer.writes() + writes;
    while (writer.writes() < enough && !writer.failed()) std::this_thread::yield();
  }

  void wrong(const std::string& text) {
    ++wrong_;
    answer_("wrong " + text.substr(0, 400));
  }

  void expect_in_use() {
    const std::string meta = device_mapper::path("meta");
    for (const std::string& command : {"era_tools check " + meta, "era_tools dump " + meta,
                                       "era_tools invalidate --written-since 1 " + meta,
                                       "era_tools restore -i /compact.xml -o " + meta}) {
      const auto result = run_program(command);
      if (result.status != 1 || result.output.find("in use") == std::string::npos)
        wrong(command + ": status " + std::to_string(result.status) + ": " + result.output);
    }
  }

  void expect_snapshot(std::uint64_t which, std::uint32_t since,
                       const std::vector<std::uint32_t>& known,
                       const std::vector<std::uint32_t>& possible) {
    const std::string meta = device_mapper::path("meta");
    if (which == 0) {
      const auto result = run_program("era_tools check --metadata-snapshot " + meta);
      if (result.status != 0) wrong("check: " + result.output);
    } else if (which == 1) {
      const auto result =
          run_program("era_tools dump --metadata-snapshot --logical --compact " + meta);
      if (result.status != 0) return wrong("dump: " + result.output);
      std::istringstream lines(result.output);
      std::uint64_t blocks = 0;
      for (std::string line; std::getline(lines, line);) {
        unsigned long long begin = 0, length = 0;
        unsigned era = 0;
        if (std::sscanf(line.c_str(), " <range block_begin=\"%llu\" len=\"%llu\" era=\"%u\"/>",
                        &begin, &length, &era) != 3)
          continue;
        for (std::uint64_t b = begin; b < begin + length && b < known.size(); ++b, ++blocks)
          if (era < known[b] || era > possible[b])
            wrong("dump: block " + std::to_string(b) + " has era " + std::to_string(era) +
                  ", and it is from " + std::to_string(known[b]));
      }
      if (blocks != known.size()) wrong("dump: " + std::to_string(blocks) + " blocks");
    } else {
      std::string output;
      std::vector<bool> listed;
      if (!list_changed(since, known.size(), listed, output)) return wrong("invalidate: " + output);
      for (std::size_t b = 0; b < known.size(); ++b)
        if (listed[b] ? possible[b] < since : known[b] >= since)
          wrong("invalidate: block " + std::to_string(b) + (listed[b] ? " is" : " is not") +
                " listed since " + std::to_string(since));
    }
  }

  device_mapper& dm_;
  std::uint64_t block_size_;
  std::function<void(const std::string&)> answer_;
  int wrong_ = 0;
};

}  // namespace era::test
