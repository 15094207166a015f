// SPDX-License-Identifier: GPL-3.0-or-later
// snapshot_driver NAME STEP...: the steps of era_device on a mapped device, for the tests inside
// the virtual machine. It ends at the first step that fails, with status 1.
//
//   table                    prints the metadata device, the origin, block size and size
//   clean_up                 prints what it did
//   snapshot LIMIT COMMAND   suspend, COMMAND, resume; LIMIT in milliseconds. Prints the command's
//                            output, and the next era
//   take, drop               the metadata snapshot
//   die                      ends the process as kill -9 does
#include <csignal>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "era/backup/era_device.h"
#include "era/commands/interruption.h"

namespace era::test {
namespace {

void drive(const std::string& name, const char* const* steps) {
  const interruption signals;
  era_device device(name);
  const auto word = [&] {
    if (!*steps) throw std::invalid_argument("a word is missing");
    return std::string(*steps++);
  };
  while (*steps) {
    const std::string step = word();
    if (step == "table") {
      fmt::print("{} {} {} {}\n", device.metadata(), device.origin(), device.block_size(),
                 device.size());
    } else if (step == "clean_up") {
      const era_device_leftovers found = device.clean_up();
      fmt::print("cleaned up:{}{}\n", found.was_suspended ? " suspended" : "",
                 found.had_metadata_snapshot ? " snapshot" : "");
    } else if (step == "snapshot") {
      const std::chrono::milliseconds limit(std::stoul(word()));
      const data_snapshot made = device.snapshot_data(
          {.shell = word(), .time_limit = limit, .grace = std::chrono::seconds(1)},
          [&](int fd) { signals.wait_for(fd); });
      fmt::print("{}next {}\n", made.output, made.next_era);
    } else if (step == "take") {
      device.take_metadata_snapshot();
    } else if (step == "drop") {
      device.drop_metadata_snapshot();
    } else if (step == "die") {
      std::fflush(stdout);
      ::raise(SIGKILL);
    } else {
      throw std::invalid_argument("there is no step " + step);
    }
  }
}

}  // namespace
}  // namespace era::test

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  try {
    era::test::drive(argv[1], argv + 2);
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "snapshot_driver: %s\n", e.what());
    return 1;
  }
}
