// SPDX-License-Identifier: GPL-3.0-or-later
// For the tests against real kernels: metadata that the tools have made.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <fmt/format.h>

#include "functional-tests/kernel/scenario.h"

namespace era::test {

// In memory, since simulations of thousands of eras would wait for the disk. A path beside it is
// for other files.
class file_of_metadata {
 public:
  explicit file_of_metadata(std::uint64_t blocks = 1024)
      : fd_(::memfd_create("metadata", MFD_CLOEXEC)),
        path_(fmt::format("/proc/{}/fd/{}", ::getpid(), fd_)),
        beside_((std::filesystem::temp_directory_path() /
                 fmt::format("era_kernel.{}.{}", ::getpid(), fd_))
                    .string()) {
    if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(blocks * 4096)) != 0) std::abort();
  }
  ~file_of_metadata() {
    for (const char* ending : {".xml", ".in"}) std::filesystem::remove(beside_ + ending);
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

// Runs a script of era_sim on zeros, or on metadata that is there. Throws std::runtime_error.
void simulate(const file_of_metadata&, std::uint32_t nr_blocks, const std::string& script);

// Eras that nothing digests, one writeset each: 27,000 take a writeset tree of three levels, as
// nodes are half full.
std::string many_eras(std::uint32_t nr_blocks, std::uint64_t eras);

// Metadata blocks that hold 250 undigested eras of the largest device, and room for more.
inline constexpr std::uint64_t roomy_metadata = 3072;

// Makes metadata, by way % 3: simulated, restored, or repaired after damage. Returns the number of
// origin blocks. Throws std::runtime_error.
std::uint32_t make_metadata(scenario&, unsigned way, const file_of_metadata&);

}  // namespace era::test
