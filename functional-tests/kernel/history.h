// SPDX-License-Identifier: GPL-3.0-or-later
// A history of one era device: its commands, and the eras that its blocks may have after each. A
// test draws the commands, a kernel runs them, and then the model is compared with the metadata.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace era::test {

// Bounds for the era of each origin block. A block that is shrunk away and comes back may have any
// era up to `newest`, since old writesets still list it, and need not have one.
struct era_bounds {
  std::vector<std::uint32_t> oldest, newest;
};

// The facts that an image must agree with.
struct expected_image {
  unsigned line = 0;  // of the agent's script
  std::uint32_t nr_blocks = 0, current_era = 0;
  era_bounds live;
  std::optional<era_bounds> snapshot;
};

class device_model {
 public:
  explicit device_model(std::uint64_t most_blocks)
      : live_{std::vector<std::uint32_t>(most_blocks), std::vector<std::uint32_t>(most_blocks)} {}

  // Metadata that is there already, as it was.
  void load(std::uint32_t nr_blocks, std::uint32_t era, const std::vector<std::uint32_t>& eras,
            const std::optional<std::vector<std::uint32_t>>& snapshot);

  // Activates the device, or resumes it with another length.
  void resume(std::uint32_t nr_blocks);
  void end_era() { ++era_; }
  void take_snapshot();
  void drop_snapshot() { snapshot_.reset(); }
  void write(std::uint64_t begin, std::uint64_t end);
  void discard(std::uint64_t begin, std::uint64_t end);
  // A write that is under way from now on, until all are waited for.
  void begin_write(std::uint64_t begin, std::uint64_t end);
  void wait();
  // A command failed: from now on, only what is written for sure counts, as of the last sure era.
  void doubt() { doubtful_ = true; }
  // A write failed after its blocks were marked, or before: they may count as written.
  void fail(const std::function<void(device_model&)>& write);

  std::uint32_t nr_blocks() const noexcept { return nr_blocks_; }
  std::uint32_t era() const noexcept { return era_; }
  bool has_snapshot() const noexcept { return snapshot_.has_value(); }
  bool has_writes_under_way() const noexcept { return !under_way_.empty(); }
  expected_image expected(unsigned line) const;

 private:
  struct write_under_way {
    std::uint64_t begin, end;
    std::uint32_t era;
  };
  std::uint32_t newest() const noexcept { return doubtful_ ? ~std::uint32_t{0} : era_; }
  era_bounds bounds() const;

  std::uint32_t nr_blocks_ = 0, era_ = 0;
  bool doubtful_ = false;
  era_bounds live_;
  std::optional<era_bounds> snapshot_;
  std::vector<write_under_way> under_way_;
};

// Saves the image's content as `path` elsewhere, compares every command's answer about it with what
// is expected. Returns the differences, a line each; empty if there are none.
std::string judge(const std::string& path, const expected_image&, std::uint64_t seed);

// The eras of all blocks, by era_dump --logical; more: further options. Throws std::runtime_error
// with what the command said if it fails.
std::vector<std::uint32_t> logical_eras(const std::string& path,
                                        const std::vector<std::string>& more = {});

}  // namespace era::test
