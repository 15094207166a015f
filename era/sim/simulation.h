// SPDX-License-Identifier: GPL-3.0-or-later
// The target, driven by commands and by traces.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "era/sim/script.h"
#include "era/sim/trace.h"
#include "era/target/target.h"

namespace era::sim {

// When an era ends by itself.
struct era_length {
  enum class unit { seconds, writes, blocks } counted = unit::writes;
  std::uint64_t count = 0;  // 0: never
};
// "60s", "1000writes", "500blocks". Throws bad_command.
era_length parse_era_length(std::string_view);

struct simulation_surroundings {
  std::string metadata, origin;        // names, for the table line
  std::optional<std::uint64_t> most;   // sectors of the origin, where there is one
  std::function<void()> step = [] {};  // called before each write; what it throws ends a command
};

class simulation {
 public:
  enum class digestion { automatic, manual };

  // Resumes the device. out: what status and table print.
  simulation(pd::block_store& metadata, origin_device&, const target::geometry&,
             simulation_surroundings, digestion, std::function<void(std::string_view)> out);

  // False: it was a crash, and nothing more is to be done. Throws what the target throws.
  bool run(const command&);
  void replay(const traced_request&, const era_length&);

  // A clean end, as when the device is removed; or what was done so far is on disk, and no more.
  void remove();
  void leave();

  // "12 writes, 3 commits, ..."; seconds: how long it took.
  std::string summary(double seconds);

 private:
  void write(std::uint64_t sector, std::uint64_t count);
  void write_page(std::uint64_t block);
  void random_writes(const command&);
  void sequential_writes(const command&);
  void digest(std::uint64_t steps);
  void digest_in_background();
  void require_in_device(std::uint64_t sector, std::uint64_t count) const;
  void require_in_origin(std::uint64_t length) const;
  void end_era_if_due(const era_length&, double seconds);
  void print_status();

  target target_;
  simulation_surroundings around_;
  digestion digestion_;
  std::function<void(std::string_view)> out_;
  std::uint32_t block_size_;
  std::uint64_t length_;
  std::optional<std::uint64_t> new_length_;
  std::vector<std::byte> data_;
  std::uint64_t writes_ = 0;
  // Since the era began.
  std::uint64_t writes_before_ = 0, marked_before_ = 0;
  double era_began_ = 0;
};

}  // namespace era::sim
